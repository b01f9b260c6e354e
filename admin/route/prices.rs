//! What models cost.

use crate::auth::Caller;
use crate::dto::{
    ErrorBody, PriceAnswer, PriceBody, PriceFields, PriceList, PricePath, PriceQuery, PriceReply,
    PriceRequest, PriceTrial,
};
use crate::error::ApiError;
use crate::fields::{Body, Nothing, Query};
use crate::{App, now};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use tokenist_core::price::Listing;

/// Every price there is, whether or not it is in effect: what is set here before what the file lists, and that before
/// what is built in. Of a model the first that has begun to hold counts.
#[utoipa::path(
    get, path = "/admin/prices", tag = "prices",
    responses((status = 200, description = "Prices.", body = PriceList))
)]
pub(crate) async fn list_prices(State(app): State<App>) -> Json<PriceList> {
    Json(PriceList::of(&app.handle.prices()))
}

/// Sets what a model costs, from now or a day on, in the place of an earlier price of the same provider, model, day and
/// conditions. A response costs what holds at its end, and what was used keeps its cost.
#[utoipa::path(
    put, path = "/admin/prices", tag = "prices", params(PriceQuery), request_body = PriceFields,
    responses((status = 200, description = "The price; or, tried only, what the last month would have cost.", body = PriceAnswer))
)]
pub(crate) async fn set_price(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PriceQuery>,
    Body(request): Body<PriceRequest>,
) -> Result<Json<PriceAnswer>, ApiError> {
    let listing = request.listing;
    if query.dry_run {
        let now = now();
        let preview = app.handle.preview_price(listing, now).await?;
        return Ok(Json(PriceAnswer::Trial(PriceTrial::of(&preview, now))));
    }
    let _alone = app.changes.lock().await;
    let id = listing.id();
    let before = app.handle.entry::<Listing>(&id).await?;
    app.handle.set_entry(&id, Some(&listing)).await?;
    let price = PriceBody::set(&listing);
    app.record(&caller, "price.set", ("price", &id), before.as_ref().map(PriceBody::set), &price).await;
    Ok(Json(PriceAnswer::Price(Box::new(price))))
}

/// Takes back a price that was set here: what the file lists or what is built in holds again.
#[utoipa::path(
    delete, path = "/admin/prices/{id}", tag = "prices", params(PricePath),
    responses(
        (status = 200, description = "There is no such price any more.", body = PriceReply),
        (status = 404, description = "There is no such price, or it was not set here.", body = ErrorBody),
    )
)]
pub(crate) async fn remove_price(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(Nothing): Query<Nothing>,
) -> Result<Json<PriceReply>, ApiError> {
    let _alone = app.changes.lock().await;
    let Some(before) = app.handle.entry::<Listing>(&id).await? else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "Price not found"));
    };
    app.handle.set_entry::<Listing>(&id, None).await?;
    app.record(&caller, "price.remove", ("price", &id), PriceBody::set(&before), ()).await;
    Ok(Json(PriceReply { success: true }))
}
