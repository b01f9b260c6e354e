//! Limits, which the API calls thresholds.

use super::UserPath;
use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::fields::Body;
use crate::wire::{ErrorBody, Threshold, ThresholdReply, ThresholdRequest};
use axum::Json;
use axum::extract::State;

/// Replaces a user's threshold. Live sessions that are over the new one end at once with 4004.
#[utoipa::path(
    post, path = "/admin/users/{id}/threshold", tag = "limits", params(UserPath),
    request_body = ThresholdRequest,
    responses(
        (status = 200, description = "The threshold holds.", body = ThresholdReply),
        (status = 400, description = "The id or a field is wrong.", body = ErrorBody),
    )
)]
pub(crate) async fn set_threshold(
    State(app): State<App>,
    UserPath { id }: UserPath,
    caller: Caller,
    Body(request): Body<ThresholdRequest>,
) -> Result<Json<ThresholdReply>, ApiError> {
    let limit = request.limit(app.handle.default_limit());
    let before = app.handle.user(id.clone(), None).await?.map(|view| Threshold::from(&view.limit));
    let view = app.handle.set_limit(id, limit).await?;
    let after = Threshold::from(&view.limit);
    app.keep(&caller, "user.limit", ("user", view.user.as_str()), before, after).await;
    Ok(Json(ThresholdReply::of(&view)))
}
