//! An answer that takes long ends when the credential does that it was given to.

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::future::BoxFuture;
use hyper::body::{Body as _, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Asks whether the credential still opens what it was shown for.
pub(crate) type Look = Box<dyn Fn() -> BoxFuture<'static, bool> + Send>;

/// What is not all there yet is cut off, as broken, once `look` says no. Nothing more is sent while it is asked.
pub(crate) fn tether(answer: Response, look: Look) -> Response {
    if answer.body().size_hint().exact().is_some() {
        return answer;
    }
    answer.map(|body| Body::new(Tethered { body, look, step: Step::Wait(Box::pin(sleep(EVERY))) }))
}

struct Tethered {
    body: Body,
    look: Look,
    step: Step,
}

enum Step {
    Wait(Pin<Box<Sleep>>),
    Look(BoxFuture<'static, bool>),
}

/// The credential is over.
#[derive(Debug)]
struct Over;

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the credential that this answer was given to is over")
    }
}

impl std::error::Error for Over {}

impl hyper::body::Body for Tethered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            self.step = match &mut self.step {
                Step::Wait(wait) => match wait.as_mut().poll(context) {
                    Poll::Pending => break,
                    Poll::Ready(()) => Step::Look((self.look)()),
                },
                Step::Look(look) => match ready!(look.as_mut().poll(context)) {
                    true => Step::Wait(Box::pin(sleep(EVERY))),
                    false => return Poll::Ready(Some(Err(axum::Error::new(Over)))),
                },
            };
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long what was ended elsewhere may go on at most, beside how long that takes to be heard of.
const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt, stream};
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// How many pieces of an answer came before it was cut off.
    fn pieces_of(body: Body, looks: usize) -> usize {
        let (asked, is_asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, asking) = (Arc::clone(&asked), Arc::clone(&is_asked));
        let look: Look = Box::new(move || {
            asking.store(true, Ordering::SeqCst);
            let (count, asking) = (Arc::clone(&count), Arc::clone(&asking));
            async move {
                tokio::task::yield_now().await;
                asking.store(false, Ordering::SeqCst);
                count.fetch_add(1, Ordering::SeqCst) + 1 < looks
            }
            .boxed()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async move {
            let mut body = tether(Response::new(body), look).into_body().into_data_stream();
            let mut pieces = 0;
            loop {
                match body.next().await {
                    Some(Ok(_)) => {
                        assert!(!is_asked.load(Ordering::SeqCst), "nothing is sent while it is asked");
                        pieces += 1;
                        // As a socket does now and then.
                        tokio::task::yield_now().await;
                    }
                    Some(Err(_)) => {
                        assert_eq!(asked.load(Ordering::SeqCst), looks);
                        return pieces;
                    }
                    None => panic!("it ended as if all were there"),
                }
            }
        })
    }

    #[test]
    fn what_is_silent_and_what_never_ends_are_cut_off_when_the_credential_is_over() {
        assert_eq!(pieces_of(Body::from_stream(stream::pending::<io::Result<Bytes>>()), 2), 0);
        let endless = stream::repeat_with(|| io::Result::Ok(Bytes::from_static(b"row")));
        assert!(pieces_of(Body::from_stream(endless), 2) > 0);
    }
}
