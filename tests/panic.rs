//! A bug of ours ends the session that met it, and no other.

use serde_json::json;
use tokenist_kit::{Heard, PATIENCE, Provider, Tokenist, eventually};

const PANICKED: &str = "tokenist_sessions_panicked_total";

#[test]
fn a_session_that_panics_leaves_its_shards_other_sessions_running() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(
        &provider.origin(),
        &[("proxy.shard_count", "1"), ("TOKENIST_TEST_PANIC_USER", "unlucky")],
    );
    let mut others: Vec<_> = (0..10)
        .map(|index| {
            let mut other = tokenist.session(&format!("user-{index}")).unwrap();
            other.turn("").unwrap();
            other
        })
        .collect();

    let mut unlucky = tokenist.session("unlucky").unwrap();
    assert_eq!(unlucky.hear(), Heard::End);

    for other in &mut others {
        assert_eq!(other.turn("").unwrap()["response"]["status"], "completed");
    }
    let mut late = tokenist.session("late").unwrap();
    late.turn("").unwrap();
    assert_eq!(tokenist.metric(PANICKED), Some(1.0));
    // Its place is given back, and what the others used is counted.
    let sessions =
        eventually(PATIENCE, || tokenist.get("/admin/sessions"), |sessions| sessions["total"] == 11);
    assert_eq!(sessions["total"], 11);
    for index in 0..10 {
        let models = |count: &u64| {
            let models = tokenist.get(&format!("/admin/users/user-{index}/models?since=start"));
            models["models"][0]["requests"] == json!(count)
        };
        assert!(eventually(PATIENCE, || models(&2), |booked| *booked));
    }
    others.into_iter().chain([late]).for_each(|other| other.leave());
    tokenist.logged("a session panicked; the others go on");
}
