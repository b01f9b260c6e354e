//! A bounded queue whose owner sleeps in a ring: sending notifies it.

use crate::notifier::Notifier;
use crossbeam::channel::{self, Receiver, TrySendError};
use std::io;
use std::sync::Arc;

/// The owner's end.
#[derive(Debug)]
pub struct Mailbox<T> {
    receiver: Receiver<T>,
    notifier: Arc<Notifier>,
}

/// A sender's end.
#[derive(Debug)]
pub struct Sender<T> {
    sender: channel::Sender<T>,
    notifier: Arc<Notifier>,
}

/// A mailbox for at most `capacity` letters.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Sender<T>, Mailbox<T>)> {
    let (sender, receiver) = channel::bounded(capacity);
    let notifier = Arc::new(Notifier::new()?);
    Ok((Sender { sender, notifier: Arc::clone(&notifier) }, Mailbox { receiver, notifier }))
}

impl<T> Sender<T> {
    /// Gives the letter back if the box is full or its owner is gone.
    pub fn try_send(&self, letter: T) -> Result<(), T> {
        match self.sender.try_send(letter) {
            Ok(()) => {
                self.notifier.notify();
                Ok(())
            }
            Err(TrySendError::Full(letter) | TrySendError::Disconnected(letter)) => Err(letter),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { sender: self.sender.clone(), notifier: Arc::clone(&self.notifier) }
    }
}

impl<T> Mailbox<T> {
    /// Clears the notifier and yields what has arrived.
    pub fn drain(&self) -> impl Iterator<Item = T> + '_ {
        self.notifier.clear();
        self.receiver.try_iter()
    }

    pub fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_box_gives_the_letter_back() {
        let (sender, mailbox) = mailbox(2).unwrap();
        assert_eq!([sender.try_send(1), sender.try_send(2), sender.try_send(3)], [Ok(()), Ok(()), Err(3)]);
        assert_eq!(mailbox.drain().collect::<Vec<_>>(), [1, 2]);
        drop(mailbox);
        assert_eq!(sender.try_send(4), Err(4));
    }
}
