//! Which user a request may speak for: the one place where a key's bindings and a request's words become a user and
//! an org.
//!
//! Start at [`speak`]. A request without a tokenist key speaks for whomever it names, under the org that it names: that
//! makes no user a member, and it is told nothing. The ids that an account's keys say are [`spaced`](UserId::spaced).

use crate::id::{OrgId, UserId};
use crate::key::Key;
use std::fmt;

/// Where a user belongs, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership<'a> {
    /// The user is not known.
    New,
    /// The user is known, and a member of no org.
    Nowhere,
    Of(&'a OrgId),
}

/// The user and org that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    pub user: UserId,
    /// What everything counts for.
    pub org: Option<OrgId>,
}

/// Why a key does not speak for the user that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mute {
    /// The key is bound to no user and the request names none.
    UserMissing,
    /// The key is of an org, and the user is none of its.
    Foreign,
    /// The key is bound to a user, and the request names another org than the user's.
    OtherOrg,
    /// The id is of an org's name space, of which only operators speak.
    Spaced,
}

impl fmt::Display for Mute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mute::UserMissing => "the request names no user, and this tokenist key is bound to none",
            Mute::Foreign => {
                "this tokenist key speaks for users of its own organization and for new ones only; \
                 an operator puts a user into an organization with POST /admin/users"
            }
            Mute::OtherOrg => {
                "this tokenist key counts for the organization of its user: name that one or none"
            }
            Mute::Spaced => {
                "a user id that begins with ug: is for operators to say; an account's key says the id alone"
            }
        })
    }
}

/// The users whose membership has to be known before [`speak`] can tell, the likeliest first.
pub fn heard_of(key: &Key, named: Option<&UserId>) -> Vec<UserId> {
    let Some(user) = key.user.as_ref().or(named) else { return Vec::new() };
    match space_of(key).filter(|_| user.space().is_none()) {
        Some(org) => vec![user.spaced(org), user.clone()],
        None => vec![user.clone()],
    }
}

/// The user and org that a request with this key is for, where it names these. What the key is bound to goes before.
///
/// A key of an account says ids of its org's name space. A user of the org that was known by the plain id before there
/// were name spaces, or that an operator has put there, is meant by it as long as no user has that id in the space.
pub fn speak<'a>(
    key: &Key,
    named: Option<&UserId>,
    org: Option<&OrgId>,
    belongs: impl Fn(&UserId) -> Membership<'a>,
) -> Result<Speaker, Mute> {
    let user = key.user.as_ref().or(named).ok_or(Mute::UserMissing)?;
    if key.user.is_none() && user.space().is_some() {
        return Err(Mute::Spaced);
    }
    if let Some(own) = space_of(key) {
        let user = if user.space().is_some() { user.clone() } else { in_space(user, own, &belongs) };
        return Ok(Speaker { user, org: Some(own.clone()) });
    }
    let space = user.space();
    let belongs = match &space {
        Some(org) => Membership::Of(org),
        None => belongs(user),
    };
    let org = match (&key.user, &key.org, belongs) {
        // No other key may say what an operator's binding says, but a user that belongs elsewhere stays there.
        (Some(_), Some(own), Membership::Of(org)) if own != org => return Err(Mute::Foreign),
        (Some(_), Some(own), _) => Some(own.clone()),
        (Some(_), None, Membership::Of(org)) => Some(org.clone()),
        (Some(_), None, Membership::New | Membership::Nowhere) => None,
        (None, Some(own), Membership::Of(org)) if own == org => Some(own.clone()),
        (None, Some(own), Membership::New) => Some(own.clone()),
        (None, Some(_), Membership::Of(_) | Membership::Nowhere) => return Err(Mute::Foreign),
        (None, None, _) => org.cloned(),
    };
    Ok(Speaker { user: user.clone(), org })
}

/// The org in whose name space a key's users are: that of the account which made it.
pub fn space_of(key: &Key) -> Option<&OrgId> {
    key.org.as_ref().filter(|_| key.account.is_some())
}

fn in_space<'a>(bare: &UserId, org: &OrgId, belongs: impl Fn(&UserId) -> Membership<'a>) -> UserId {
    let spaced = bare.spaced(org);
    let is_of_before = || belongs(bare) == Membership::Of(org);
    if belongs(&spaced) == Membership::New && is_of_before() { bare.clone() } else { spaced }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyHash;
    use crate::key::{KeyId, Scopes};
    use crate::time::Timestamp;

    fn key(user: Option<&str>, org: Option<&str>, account: Option<&str>) -> Key {
        Key {
            id: KeyId::from("key_1"),
            hash: KeyHash([0; 32]),
            name: "ci".into(),
            hint: "ug_000000000".into(),
            user: user.map(UserId::from),
            org: org.map(OrgId::from),
            scopes: Scopes::default(),
            account: account.map(Into::into),
            maker: None,
            created_at: Timestamp(0),
            expires_at: None,
            revoked_at: None,
        }
    }

    /// `new` is new, `lone` belongs nowhere, `acme-…` to acme, and so on.
    fn belongs<'a>(acme: &'a OrgId, globex: &'a OrgId) -> impl Fn(&UserId) -> Membership<'a> {
        move |user| match user.as_str() {
            text if text.contains("acme-") => Membership::Of(acme),
            text if text.contains("globex-") => Membership::Of(globex),
            text if text.contains("lone") => Membership::Nowhere,
            _ => Membership::New,
        }
    }

    #[test]
    fn a_key_speaks_for_whom_it_is_bound_to_and_for_members_of_its_org() {
        let [acme, globex] = ["acme", "globex"].map(OrgId::from);
        let belongs = belongs(&acme, &globex);
        let ok = |user: &str, org: &str| Ok((user.to_owned(), org.to_owned()));
        for (key, named, said, expected) in [
            // Bound to nothing: an operator's own servers.
            (key(None, None, None), "new", "acme", ok("new", "acme")),
            (key(None, None, None), "globex-g", "acme", ok("globex-g", "acme")),
            (key(None, None, None), "new", "", ok("new", "")),
            (key(None, None, None), "", "", Err(Mute::UserMissing)),
            (key(None, None, None), "ug:acme:a", "", Err(Mute::Spaced)),
            // To a user: the org is the user's.
            (key(Some("acme-a"), None, None), "new", "globex", ok("acme-a", "acme")),
            (key(Some("lone"), None, None), "", "globex", ok("lone", "")),
            (key(Some("new"), None, None), "", "globex", ok("new", "")),
            (key(Some("ug:acme:x"), None, None), "", "globex", ok("ug:acme:x", "acme")),
            // To both.
            (key(Some("new"), Some("acme"), None), "", "globex", ok("new", "acme")),
            (key(Some("lone"), Some("acme"), None), "", "", ok("lone", "acme")),
            (key(Some("acme-a"), Some("acme"), None), "", "", ok("acme-a", "acme")),
            (key(Some("globex-g"), Some("acme"), None), "", "", Err(Mute::Foreign)),
            // To an org.
            (key(None, Some("acme"), None), "acme-a", "globex", ok("acme-a", "acme")),
            (key(None, Some("acme"), None), "new", "", ok("new", "acme")),
            (key(None, Some("acme"), None), "lone", "", Err(Mute::Foreign)),
            (key(None, Some("acme"), None), "globex-g", "", Err(Mute::Foreign)),
            (key(None, Some("acme"), None), "ug:acme:a", "", Err(Mute::Spaced)),
            // An account's.
            (key(None, Some("acme"), Some("l")), "new", "globex", ok("ug:acme:new", "acme")),
            (key(None, Some("acme"), Some("l")), "lone", "", ok("ug:acme:lone", "acme")),
            (key(None, Some("acme"), Some("l")), "globex-g", "", ok("ug:acme:globex-g", "acme")),
            (key(None, Some("acme"), Some("l")), "ug:acme:a", "", Err(Mute::Spaced)),
            (key(Some("ug:acme:x"), Some("acme"), Some("l")), "new", "", ok("ug:acme:x", "acme")),
            (key(Some("old"), Some("acme"), Some("l")), "new", "", ok("ug:acme:old", "acme")),
        ] {
            let told = format!("{key:?} {named} {said}");
            let named = Some(UserId::from(named)).filter(|user| !user.as_str().is_empty());
            let said = Some(OrgId::from(said)).filter(|org| !org.as_str().is_empty());
            let speaker = speak(&key, named.as_ref(), said.as_ref(), &belongs);
            let org = |org: Option<OrgId>| org.map_or(String::new(), |org| org.to_string());
            let speaker = speaker.map(|Speaker { user, org: of }| (user.to_string(), org(of)));
            assert_eq!(speaker, expected, "{told}");
        }
    }

    #[test]
    fn a_member_of_before_is_meant_by_the_plain_id_until_the_name_space_has_that_id() {
        let acme = OrgId::from("acme");
        let account = key(None, Some("acme"), Some("l"));
        let alice = UserId::from("alice");
        assert_eq!(heard_of(&account, Some(&alice)), [UserId::from("ug:acme:alice"), alice.clone()]);
        let means = |is_in_space: bool| {
            let belongs = |user: &UserId| match user.space() {
                None => Membership::Of(&acme),
                Some(_) if is_in_space => Membership::Of(&acme),
                Some(_) => Membership::New,
            };
            speak(&account, Some(&alice), None, belongs).unwrap().user.to_string()
        };
        assert_eq!((means(false), means(true)), ("alice".into(), "ug:acme:alice".into()));
    }
}
