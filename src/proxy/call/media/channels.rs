//! Which channel of one leg goes on as which of the other.
//!
//! Start at [`Channels::opened`]. Invariant: how many there are is bounded, and one that has no other is heard all the same.

use super::offering::UNUSED;
use super::{Media, Peer};
use std::time::Instant;
use str0m::channel::{ChannelConfig, ChannelId};

/// Channels of one call.
const CHANNELS_MAX: usize = 16;
/// The name under which providers speak of events.
const EVENTS: &str = "oai-events";

#[derive(Default)]
pub(super) struct Channels(Vec<Pair>);

struct Pair {
    label: String,
    /// By who is at their other end.
    ids: [Option<ChannelId>; 2],
}

impl Channels {
    /// One has opened on this side: it is opened on the other side as well, in the same manner.
    pub(super) fn opened(
        &mut self,
        media: &Media,
        peer: Peer,
        id: ChannelId,
        config: ChannelConfig,
        now: Instant,
    ) {
        let is_known = self.0.iter().any(|pair| pair.ids[peer as usize] == Some(id));
        if is_known || peer == Peer::Provider && config.negotiated == Some(UNUSED) {
            return;
        }
        let is_waiting = |pair: &&mut Pair| pair.label == config.label && pair.ids[peer as usize].is_none();
        if let Some(waiting) = self.0.iter_mut().find(is_waiting) {
            waiting.ids[peer as usize] = Some(id);
            return;
        }
        if self.0.len() == CHANNELS_MAX {
            tracing::debug!(label = config.label, "a call opens more channels than it may");
            return media.leg(peer).close_channel(id, now);
        }
        let label = config.label.clone();
        let other = media.leg(peer.other()).open(config, now);
        let mut ids = [None; 2];
        (ids[peer as usize], ids[peer.other() as usize]) = (Some(id), other);
        self.0.push(Pair { label, ids });
    }

    /// Opens one to the provider alone, where the application has not, so that its events are heard.
    pub(super) fn listen(&mut self, media: &Media, now: Instant) {
        if self.0.iter().any(|pair| pair.label == EVENTS) {
            return;
        }
        let config = ChannelConfig { label: EVENTS.to_owned(), ..ChannelConfig::default() };
        let id = media.leg(Peer::Provider).open(config, now);
        self.0.push(Pair { label: EVENTS.to_owned(), ids: [None, id] });
    }

    /// One has closed on this side.
    pub(super) fn closed(&mut self, media: &Media, peer: Peer, id: ChannelId, now: Instant) {
        let Some(at) = self.0.iter().position(|pair| pair.ids[peer as usize] == Some(id)) else { return };
        let pair = &mut self.0[at];
        pair.ids[peer as usize] = None;
        // The provider's events are to be heard to the end.
        if peer == Peer::Application && pair.label == EVENTS {
            return;
        }
        let Pair { ids, .. } = self.0.remove(at);
        if let Some(other) = ids[peer.other() as usize] {
            media.leg(peer.other()).close_channel(other, now);
        }
    }

    /// Closes all that this peer has.
    pub(super) fn close(&self, media: &Media, peer: Peer, now: Instant) {
        for id in self.0.iter().filter_map(|pair| pair.ids[peer as usize]) {
            media.leg(peer).close_channel(id, now);
        }
    }

    /// Where a message of this channel goes on.
    pub(super) fn beyond(&self, peer: Peer, id: ChannelId) -> Option<ChannelId> {
        let pair = self.0.iter().find(|pair| pair.ids[peer as usize] == Some(id))?;
        pair.ids[peer.other() as usize]
    }

    /// The first that this peer has.
    pub(super) fn first(&self, peer: Peer) -> Option<ChannelId> {
        self.0.iter().find_map(|pair| pair.ids[peer as usize])
    }
}
