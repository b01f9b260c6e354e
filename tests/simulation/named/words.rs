//! Who may say what of whom, as far as it changes what is kept and who is charged.

use super::{Keep, Named, Plant, World, plain};
use crate::admit::Arrival;
use crate::cast::{self, FIRST_FEATURE, FIRST_ORG, Party};
use crate::control::key_id;
use crate::script::user;
use std::sync::Arc;
use tokenist_core::authority::{Membership, Mute};
use tokenist_core::id::{Identity, OrgId, UserId};
use tokenist_core::key::{Key, Scopes};
use tokenist_handoff::{Admission, KeyRefusal, Report};

const ALICE: usize = 0;
const BOB: usize = 1;
const ACME: usize = FIRST_ORG;
const GLOBEX: usize = FIRST_ORG + 1;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "whoever the provider refuses leaves nothing, and moves nobody",
        without: Some(Plant::OpenedAnyway),
        shape: || plain(Keep::File),
        play: is_refused,
    },
    Named {
        name: "a question makes nobody known",
        without: None,
        shape: || plain(Keep::File),
        play: is_asked,
    },
    Named {
        name: "a key of a user counts for the user's own org, whatever the headers say",
        without: Some(Plant::KeyUnbound),
        shape: || plain(Keep::Disk),
        play: is_of_a_user,
    },
    Named {
        name: "a key of an org speaks for its members and for new users alone",
        without: Some(Plant::KeyUnbound),
        shape: || plain(Keep::Disk),
        play: is_of_an_org,
    },
    Named {
        name: "an operator's word reaches the next session",
        without: None,
        shape: || plain(Keep::Disk),
        play: is_introduced,
    },
];

fn of_org(who: usize, org: usize) -> Arc<Identity> {
    Arc::new(Identity { org: Some(cast::org(org - FIRST_ORG)), ..Identity::of(cast::user(who)) })
}

/// A key that is bound to these, unless it is planted that nobody asks.
fn key(world: &World, index: usize, user: Option<UserId>, org: Option<OrgId>) -> Key {
    let is_bound = world.plant != Plant::KeyUnbound;
    Key {
        id: key_id(index),
        hash: cast::hash(index),
        name: "ci".into(),
        hint: "ug_000000000".into(),
        user: user.filter(|_| is_bound),
        org: org.filter(|_| is_bound),
        scopes: Scopes { proxy: true, sdk: true, admin: false },
        account: None,
        maker: None,
        created_at: world.wall,
        expires_at: None,
        revoked_at: None,
    }
}

fn introduces(world: &mut World, identity: Arc<Identity>) {
    let done = world.order(0, |handle| async move { handle.introduce(Identity::clone(&identity)).await });
    assert!(done.is_ok(), "{done:?}");
    world.flow(0);
}

/// Who is charged for the session that somebody gets who calls with this key.
fn charged(world: &mut World, identity: Arc<Identity>, key: usize) -> Party {
    let arrival = world.call_in(0, identity, Some(key));
    let Arrival::Entered(id) = arrival else { panic!("it is let in, not {arrival:?}") };
    let session = world.take(0, id);
    let party = session.party;
    world.turn_down(0, 0, session);
    world.flow(0);
    party
}

fn is_refused(world: &mut World) {
    introduces(world, of_org(ALICE, ACME));
    let known = world.ledger(0).known_count();
    let claims = [
        of_org(ALICE, GLOBEX),
        Arc::new(Identity { feature: Some(cast::feature(0)), ..Identity::clone(&of_org(BOB, GLOBEX)) }),
    ];
    for claim in claims {
        let Arrival::Entered(id) = world.call_in(0, claim, None) else { panic!("it may ask the provider") };
        let session = world.take(0, id);
        world.turn_down(0, 0, session);
        world.flow(0);
    }
    assert_eq!(world.ledger(0).known_count(), known);
    let slot = world.ledger(0).find(cast::holder(ALICE)).expect("it is known");
    assert_eq!(world.ledger(0).membership(slot), Membership::Of(&cast::org(0)));
    world.restart(0);
    for who in [BOB, GLOBEX, FIRST_FEATURE] {
        assert!(!world.is_seated(0, who), "{:?} is known", cast::holder(who));
    }
}

fn is_asked(world: &mut World) {
    let globex = Some(cast::org(GLOBEX - FIRST_ORG));
    world.sets_key(0, 0, key(world, 0, None, globex));
    let question = Admission::Question { key: cast::hash(0), user: Some(cast::user(BOB)), org: None };
    let (known, now) = (world.ledger(0).known_count(), world.wall);
    let asked = Report::Admit { shard: 0, ticket: u64::MAX, admission: question };
    world.process_mut(0).aggregator.report(asked, now);
    world.flow(0);
    assert_eq!(world.ledger(0).known_count(), known);
    // So another org's key is the first to name him.
    world.sets_key(0, 1, key(world, 1, None, Some(cast::org(ACME - FIRST_ORG))));
    assert!(charged(world, user(BOB), 1).has(ACME));
    world.restart(0);
    assert!(!world.is_seated(0, BOB));
}

fn is_of_a_user(world: &mut World) {
    introduces(world, of_org(ALICE, ACME));
    world.sets_key(0, 0, key(world, 0, Some(cast::user(ALICE)), None));
    let party = charged(world, of_org(BOB, GLOBEX), 0);
    assert!(party.has(ALICE) && party.has(ACME), "{party:?}");
    assert!(!party.has(BOB) && !party.has(GLOBEX), "{party:?}");
}

fn is_of_an_org(world: &mut World) {
    introduces(world, of_org(ALICE, ACME));
    world.sets_key(0, 1, key(world, 1, None, Some(cast::org(GLOBEX - FIRST_ORG))));
    let foreign = Arrival::KeyRefused(KeyRefusal::Mute(Mute::Foreign));
    assert_eq!(world.call_in(0, user(ALICE), Some(1)), foreign);
    let party = charged(world, user(BOB), 1);
    assert!(party.has(BOB) && party.has(GLOBEX), "{party:?}");
}

fn is_introduced(world: &mut World) {
    world.sets_key(0, 0, key(world, 0, Some(cast::user(ALICE)), None));
    let id = world.open(0, user(ALICE));
    world.goes(0, id);
    assert!(!charged(world, user(ALICE), 0).has(ACME));
    introduces(world, of_org(ALICE, ACME));
    assert!(charged(world, user(ALICE), 0).has(ACME));
}
