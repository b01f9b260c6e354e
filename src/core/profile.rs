//! What is said of a user, and whose word counts for how much.
//!
//! Start at [`Profile::learn`]. Access depends on [`Profile::member_of`] alone, and no header ever sets it: that takes an
//! operator's word, or a key of the org while nothing else was said. What headers claim is a label, shown where
//! no more was said.
//!
//! Invariant: whatever clocks say and in whatever order instances hear of it, an operator's word holds against a key's,
//! a key's against a claim, and of two keys' the first: [`Said::revision`].

use crate::id::{Identity, OrgId};
use crate::revision::Revision;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is said of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub org: Option<OrgId>,
    /// It is a label: a header alone names the org, or a key that is of no org.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub org_is_claimed: bool,
    pub email: Option<Arc<str>>,
    /// Likewise of the email and the name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub email_is_claimed: bool,
    pub name: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub name_is_claimed: bool,
}

/// By which right something is said of a user. The later ones count for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// By headers beside a provider key.
    Claimed,
    /// With a tokenist key that may speak for the user, and is not of the org that is named.
    ByKey,
    /// With a key of the org that is named.
    ByKeyOfOrg,
    ByOperator,
}

/// Keys' words lie in between claims' and operators': operators' count up from here, keys' down.
const KEYS_FROM: u64 = 1 << 55;
/// What a key says more of a user counts up again within the millisecond of its first word.
const KEY_STEP_BITS: u32 = 13;
/// Two keys of the same millisecond are told apart by their orgs.
const KEY_TIE_BITS: u32 = 12;

impl Profile {
    /// The org that the user is a member of.
    pub fn member_of(&self) -> Option<&OrgId> {
        self.org.as_ref().filter(|_| !self.org_is_claimed)
    }

    /// Takes in what is said of the user. What is not said stays as it was. Whether anything is new.
    pub fn learn(&mut self, identity: &Identity, said: Said) -> bool {
        let makes_member = match said {
            Said::ByOperator => true,
            Said::ByKeyOfOrg => self.member_of().is_none(),
            Said::Claimed | Said::ByKey => false,
        };
        let proves = said != Said::Claimed;
        learn(&mut self.org, &mut self.org_is_claimed, &identity.org, makes_member)
            | learn(&mut self.email, &mut self.email_is_claimed, &identity.email, proves)
            | learn(&mut self.name, &mut self.name_is_claimed, &identity.name, proves)
    }
}

impl Said {
    /// The revision of what is said at `now` of a user whose profile has `known`; an operator's next setting has `next`.
    ///
    /// A claim is the milliseconds of its time. A key's first word lies far above and falls as time goes by, so the
    /// earlier of two holds. An operator's lies above both. What is said on top of what is known is the next after it,
    /// so it is gone if something else was said meanwhile by a right that counts for more.
    pub fn revision(self, known: Revision, next: Revision, org: Option<&OrgId>, now: Timestamp) -> Revision {
        let floor = match self {
            Said::Claimed => now.0,
            Said::ByKey | Said::ByKeyOfOrg => {
                KEYS_FROM.saturating_sub(now.0 << KEY_STEP_BITS) + org.map_or(0, tie)
            }
            Said::ByOperator => next.0,
        };
        Revision(floor.max(known.0 + 1))
    }
}

/// Whether `said` is something new. Where it proves nothing, what was proven stays.
fn learn<T: Clone + PartialEq>(
    known: &mut Option<T>,
    is_claimed: &mut bool,
    said: &Option<T>,
    proves: bool,
) -> bool {
    let may_say = proves || known.is_none() || *is_claimed;
    if said.is_none() || !may_say || (known == said && *is_claimed != proves) {
        return false;
    }
    known.clone_from(said);
    *is_claimed = !proves;
    true
}

/// The same on all instances.
fn tie(org: &OrgId) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = org.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    (hash >> 32) & ((1 << KEY_TIE_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Tag;
    use proptest::prelude::*;

    const NOON: Timestamp = Timestamp(1_795_478_400_000);

    fn of_org(org: &str) -> Identity {
        Identity { org: Some(org.into()), ..Identity::of("a".into()) }
    }

    #[test]
    fn only_who_may_say_so_makes_a_member() {
        for (before, said, member_of, org) in [
            (None, Said::Claimed, None, Some("acme")),
            (None, Said::ByKey, None, Some("acme")),
            (None, Said::ByKeyOfOrg, Some("acme"), Some("acme")),
            (None, Said::ByOperator, Some("acme"), Some("acme")),
            (Some(Said::Claimed), Said::ByKey, None, Some("acme")),
            (Some(Said::Claimed), Said::ByKeyOfOrg, Some("acme"), Some("acme")),
            (Some(Said::ByKeyOfOrg), Said::Claimed, Some("first"), Some("first")),
            (Some(Said::ByKeyOfOrg), Said::ByKey, Some("first"), Some("first")),
            (Some(Said::ByKeyOfOrg), Said::ByKeyOfOrg, Some("first"), Some("first")),
            (Some(Said::ByKeyOfOrg), Said::ByOperator, Some("acme"), Some("acme")),
            (Some(Said::ByOperator), Said::ByKeyOfOrg, Some("first"), Some("first")),
            (Some(Said::ByOperator), Said::ByOperator, Some("acme"), Some("acme")),
        ] {
            let mut profile = Profile::default();
            if let Some(before) = before {
                profile.learn(&of_org("first"), before);
            }
            profile.learn(&of_org("acme"), said);
            let shown = profile.org.as_ref().map(OrgId::as_str);
            assert_eq!(
                (profile.member_of().map(OrgId::as_str), shown),
                (member_of, org),
                "{before:?} then {said:?}"
            );
        }
    }

    #[test]
    fn what_is_said_again_is_nothing_new() {
        let mut profile = Profile::default();
        for (said, is_new) in [
            (Said::Claimed, true),
            (Said::Claimed, false),
            (Said::ByOperator, true),
            (Said::ByOperator, false),
            (Said::Claimed, false),
        ] {
            assert_eq!(profile.learn(&of_org("acme"), said), is_new, "{said:?}");
        }
        assert!(!profile.learn(&Identity::of("a".into()), Said::ByOperator), "what is not said stays");
    }

    #[test]
    fn profiles_of_before_read_as_they_were_written() {
        let read = |text: &str| serde_json::from_str::<Profile>(text).unwrap();
        let proven = read(r#"{"org":"acme","email":null,"name":null}"#);
        assert_eq!(proven.member_of().map(OrgId::as_str), Some("acme"));
        let claimed = read(r#"{"org":"acme","org_is_claimed":true,"email":null,"name":null}"#);
        assert_eq!((claimed.member_of(), claimed.org.is_some()), (None, true));
    }

    /// A revision of what `said` says of somebody of whom nothing is known.
    fn first(said: Said, org: &str, at: u64) -> Revision {
        let next = Revision::after(Revision::default(), Timestamp(at), Tag::default());
        said.revision(Revision::default(), next, Some(&org.into()), Timestamp(at))
    }

    proptest! {
        /// From 2000 to 2100, and however often somebody says something else within that time.
        #[test]
        fn an_operators_word_holds_against_a_keys_and_a_keys_against_a_claim(
            one in 946_684_800_000u64..4_102_444_800_000,
            other in 946_684_800_000u64..4_102_444_800_000,
            changes in 0..4_096u64,
        ) {
            let word = |said, at| Revision(first(said, "acme", at).0 + changes).0;
            for key in [Said::ByKey, Said::ByKeyOfOrg] {
                prop_assert!(word(Said::Claimed, one) < first(key, "acme", other).0);
                prop_assert!(word(key, one) < first(Said::ByOperator, "acme", other).0);
                prop_assert!(one >= other || first(key, "acme", one).0 > word(key, other));
            }
            prop_assert!(one >= other || first(Said::ByOperator, "a", one) < first(Said::ByOperator, "a", other));
        }

        #[test]
        fn what_is_said_on_top_is_the_next(known in 1u64..u64::MAX / 2, at in 0..NOON.0) {
            for said in [Said::Claimed, Said::ByKey, Said::ByKeyOfOrg, Said::ByOperator] {
                let revision = said.revision(Revision(known), Revision::default(), None, Timestamp(at));
                prop_assert!(revision > Revision(known));
            }
        }
    }

    #[test]
    fn two_keys_of_one_moment_are_told_apart() {
        let of = |org: &str| first(Said::ByKeyOfOrg, org, NOON.0);
        assert_ne!(of("acme"), of("globex"));
        assert_eq!(of("acme"), of("acme"));
    }
}
