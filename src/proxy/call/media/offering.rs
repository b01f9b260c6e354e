//! How a relayed call comes about: what the application offers is offered to the provider by us, and what the provider takes of it
//! is what we take of the application's.
//!
//! Start at [`Offering::new`], before the provider is asked, then [`Offering::answered`]. Invariant: the provider is asked for nothing
//! that the application has not offered, but for a line of data, by which its events are heard.

use super::leg::{BUFFERED_BYTES_MAX, Leg, MESSAGE_BYTES_MAX, Own, Way};
use super::{Media, Relayed};
use crate::live::Live;
use crate::port::{HalfOpen, Place, Port};
use crate::shard::Shard;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelConfig;
use str0m::media::{self, MediaKind};
use str0m::net::{Protocol, TcpType};
use str0m::rtp::Extension;
use str0m::{Candidate, Rtc, RtcConfig};
use tokenist_core::id::UserId;
use tokenist_core::signalling::description::{Codec, Description, Direction};

/// Candidates of a provider that are tried.
const CANDIDATES_MAX: usize = 16;
/// The place of a channel that nobody uses: without one no line of data could be offered before the application has opened its own.
pub(super) const UNUSED: u16 = 1_022;

/// A call that is offered to a provider.
pub(crate) struct Offering {
    offer: Description,
    port: Rc<Port>,
    half_open: HalfOpen,
    /// The leg to the provider.
    rtc: Rtc,
    pending: SdpPendingOffer,
    now: fn() -> Instant,
}

/// Why nothing is offered.
#[derive(Debug)]
pub(crate) enum NotOffered {
    /// What is wrong with the application's offer.
    Wrong(String),
    /// There are too many calls whose application has not connected yet, in all or of this user's.
    Full,
}

impl Offering {
    /// Reads what this user's application offers: what is offered to the provider instead.
    ///
    /// # Errors
    /// It cannot be served, or not now.
    pub(crate) fn new(
        port: &Rc<Port>,
        user: &UserId,
        sdp: &[u8],
        now: fn() -> Instant,
    ) -> Result<(Offering, String), NotOffered> {
        let offer = Description::read(sdp).map_err(|wrong| NotOffered::Wrong(wrong.to_string()))?;
        if offer.is_ice_lite() {
            return Err(NotOffered::Wrong("it comes from an ICE-lite agent, as which it is answered".into()));
        }
        // It is read again when the provider has answered.
        SdpOffer::from_sdp_string(&offer.only(false)).map_err(|error| {
            // Where it is wrong is told as a place in our memory.
            tracing::debug!(%error, "an offer cannot be read");
            NotOffered::Wrong(
                "a line of it cannot be read: an attribute is malformed, or one that it refers to is missing"
                    .into(),
            )
        })?;
        let half_open = port.half_open(user).ok_or(NotOffered::Full)?;
        let mut rtc = config(port, &offer.codecs()).build(now());
        let mut changes = rtc.sdp_api();
        if offer.has_audio() {
            changes.add_media(MediaKind::Audio, direction(offer.direction()), None, None, None);
        }
        changes
            .add_channel_with_config(ChannelConfig { negotiated: Some(UNUSED), ..ChannelConfig::default() });
        let (ours, pending) = changes.apply().expect("there is a line of data at least");
        let port = Rc::clone(port);
        Ok((Offering { offer, port, half_open, rtc, pending, now }, ours.to_sdp_string()))
    }

    /// Reads what the provider answers: both legs, and what the application is answered instead.
    ///
    /// # Errors
    /// What is wrong with the provider's answer.
    pub(crate) fn answered(
        self,
        sdp: &[u8],
        shard: &Shard,
        live: &Rc<Live>,
    ) -> Result<(Relayed, String), String> {
        let Offering { offer, port, half_open, rtc, pending, now } = self;
        let answer = Description::read(sdp).map_err(|wrong| wrong.to_string())?;
        let provider = to_provider(rtc, pending, &answer, now())?;
        let has_no_sound = !answer.has_audio();
        if has_no_sound && !offer.has_data() {
            return Err("it takes no sound, and nothing else is offered".to_owned());
        }
        let mut rtc = config(&port, &answer.codecs()).set_ice_lite(true).build(now());
        for place in port.addresses() {
            rtc.add_local_candidate(candidate(*place)?);
        }
        let shown =
            SdpOffer::from_sdp_string(&offer.only(has_no_sound)).map_err(|error| error.to_string())?;
        let ours = rtc.sdp_api().accept_offer(shown).map_err(|error| error.to_string())?.to_sdp_string();
        let ours = offer.answer(&ours, has_no_sound).ok_or("a line of the offer was not answered")?;
        let way = Way::Port(Rc::clone(&port));
        let mut application = Leg::new(rtc, way, &offer, has_no_sound, now());
        let ufrag = application.ufrag();
        let media =
            Rc::new(Media::new(Rc::clone(live), Arc::clone(&shard.counters), [application, provider], now));
        let registration = port.register(&ufrag, Rc::clone(&media) as Rc<_>);
        Ok((Relayed { media, registration, half_open }, ours))
    }
}

/// The leg to a provider that has answered so.
fn to_provider(
    mut rtc: Rtc,
    pending: SdpPendingOffer,
    answer: &Description,
    now: Instant,
) -> Result<Leg, String> {
    let candidates = answer.candidates().filter_map(|text| Candidate::from_sdp_string(text).ok());
    let mut candidates: Vec<Candidate> = candidates.take(CANDIDATES_MAX).collect();
    let is_udp = |candidate: &&Candidate| candidate.proto() == Protocol::Udp;
    let passive = |candidate: &&Candidate| candidate.tcptype() == Some(TcpType::Passive);
    let fallback = candidates.iter().find(passive).map(Candidate::addr);
    let over_udp = candidates.iter().filter(is_udp).map(Candidate::addr);
    let own = over_udp.chain(fallback).find_map(|peer| Own::towards(peer, fallback).ok());
    let own = own.ok_or("none of its candidates can be reached")?;
    candidates.retain(|candidate| !is_udp(&candidate) || candidate.addr().is_ipv4() == own.address.is_ipv4());
    let local = Candidate::host(own.address, "udp").map_err(|error| error.to_string())?;
    rtc.add_local_candidate(local);
    let accepted = SdpAnswer::from_sdp_string(&answer.plain()).map_err(|error| error.to_string())?;
    rtc.sdp_api().accept_answer(pending, accepted).map_err(|error| error.to_string())?;
    candidates.into_iter().for_each(|candidate| rtc.add_remote_candidate(candidate));
    let way = Way::Own(Rc::new(own));
    Ok(Leg::new(rtc, way, answer, false, now))
}

/// Where an application may send, as it is told.
fn candidate(place: Place) -> Result<Candidate, String> {
    let candidate = match place {
        Place::Udp(address) => Candidate::host(address, "udp"),
        Place::Tcp(address) => Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build(),
    };
    candidate.map_err(|error| error.to_string())
}

/// With these codecs, in this order.
fn config(port: &Port, codecs: &[Codec]) -> RtcConfig {
    let config = Rtc::builder()
        .set_dtls_cert(port.certificate())
        .clear_codecs()
        // Sound is sent as it comes: nobody here would heed what is told of each packet's arrival.
        .clear_extension_map()
        .set_extension(1, Extension::AudioLevel)
        .set_extension(4, Extension::RtpMid)
        .set_rtp_mode(true)
        .set_sctp_max_message_size(MESSAGE_BYTES_MAX as u32)
        .set_sctp_max_buffered_amount(BUFFERED_BYTES_MAX);
    codecs.iter().fold(config, |config, codec| match codec {
        Codec::Opus => config.enable_opus(true, false),
        Codec::Pcmu => config.enable_pcmu(true, false),
        Codec::Pcma => config.enable_pcma(true, false),
    })
}

/// What the application says of its line of sound we say of ours.
fn direction(direction: Direction) -> media::Direction {
    match direction {
        Direction::Both => media::Direction::SendRecv,
        Direction::Sends => media::Direction::SendOnly,
        Direction::Receives => media::Direction::RecvOnly,
        Direction::Neither => media::Direction::Inactive,
    }
}

impl fmt::Debug for Offering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offering({:?})", self.offer)
    }
}
