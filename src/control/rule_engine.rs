//! Enforces rules: looks about once a second which users have reached what, and does to users what the rules say.
//!
//! Start at `start`. Which orgs used something is asked in one question each round, and only their rules are looked at
//! again; all of them once a minute and with each new hour, for then usage leaves their spans. A round takes at most half
//! of the time, however many rules there are.
//!
//! Invariant: what a rule does is of now. It is kept nowhere and ends by itself soon after the last look, so an
//! instance that dies blocks no user for ever, and several instances that come to the same conclusion change nothing.
//! An operator's block is another thing and stays untouched.

use crate::clock::system_time;
use crate::command::PORTION_MAX;
use crate::error::CommandError;
use crate::handle::Handle;
use crate::store::{Dimension, UsageQuery};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokenist_core::batch::Grain;
use tokenist_core::id::{OrgId, UserId};
use tokenist_core::limit::RuleAction;
use tokenist_core::rule::{Firing, Firings, Hit, Lookback, Restriction, Rule, SubjectKind, Used};
use tokenist_core::time::{MINUTE_MS, SECOND_MS, Timestamp};
use tokenist_core::totals::Totals;
use tracing::{info, warn};

/// Starts the thread that looks, for as long as there is an aggregator.
pub(crate) fn start(handle: &Handle) -> io::Result<()> {
    let mut engine = RuleEngine::default();
    let asked = handle.clone();
    let look = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime for rules").block_on(run(&mut engine, &asked));
    };
    handle.supervisor().spawn("rules", look).map(drop)
}

async fn run(engine: &mut RuleEngine, handle: &Handle) {
    // Users that are acted on are remembered over a panic, and all else looked at anew.
    engine.rules.clear();
    engine.used.clear();
    let mut failing = false;
    loop {
        let began = Instant::now();
        let outcome = engine.look(handle, system_time()).await;
        match &outcome {
            Err(CommandError::Gone) => return,
            Err(cause) if !failing => {
                warn!(%cause, "rules are not looked at: what they do ends within minutes")
            }
            Ok(()) if failing => info!("rules are looked at again"),
            Ok(()) | Err(_) => {}
        }
        failing = outcome.is_err();
        tokio::time::sleep(INTERVAL.max(began.elapsed())).await;
    }
}

/// What was concluded, so that only what is new is acted on.
#[derive(Debug, Default)]
struct RuleEngine {
    rules: BTreeMap<Arc<str>, WatchedRule>,
    /// What each org with rules had used in this hour when its rules were looked at.
    used: HashMap<OrgId, Totals>,
    /// When all rules were looked at, by a clock that cannot be set.
    whole_at: Option<Instant>,
    looked_at: Timestamp,
    in_force: HashMap<UserId, RuleAction>,
}

#[derive(Debug)]
struct WatchedRule {
    rule: Arc<Rule>,
    /// `None`: it was not looked at since it was made or changed.
    hits: Option<BTreeMap<Arc<str>, Hit>>,
    /// Those of them that the restriction acts on.
    acts_on: BTreeMap<Arc<str>, Hit>,
}

/// What several rules of an org ask for together.
type Question = (OrgId, SubjectKind, Lookback);

impl RuleEngine {
    async fn look(&mut self, handle: &Handle, now: Timestamp) -> Result<(), CommandError> {
        self.take_rules(handle.entries::<Rule>().await?);
        if !self.rules.is_empty() {
            let used = used_by_org(handle, now).await?;
            let hour = |at| Grain::Hour.start(at);
            let is_whole = hour(now) != hour(self.looked_at)
                || self.whole_at.is_none_or(|at| at.elapsed() >= WHOLE_PAUSE);
            let due = self.due(&used, is_whole);
            self.judge(handle, due, now).await?;
            self.used = used;
            if is_whole {
                self.whole_at = Some(Instant::now());
            }
        }
        self.looked_at = now;
        self.act(handle, now).await
    }

    /// Follows what operators changed.
    fn take_rules(&mut self, entries: Vec<(Arc<str>, Rule)>) {
        let mut before = std::mem::take(&mut self.rules);
        for (id, rule) in entries.into_iter().filter(|(_, rule)| rule.enabled && rule.is_enforced()) {
            let known = before.remove(&id).filter(|watched| *watched.rule == rule);
            let new = || WatchedRule { rule: Arc::new(rule), hits: None, acts_on: BTreeMap::new() };
            self.rules.insert(id, known.unwrap_or_else(new));
        }
    }

    /// Which rules may come to another conclusion than before.
    fn due(&self, used: &HashMap<OrgId, Totals>, is_whole: bool) -> Vec<Arc<str>> {
        let is_due = |watched: &WatchedRule| {
            let org = &watched.rule.org;
            is_whole || watched.hits.is_none() || used.get(org) != self.used.get(org)
        };
        self.rules.iter().filter(|(_, watched)| is_due(watched)).map(|(id, _)| Arc::clone(id)).collect()
    }

    async fn judge(
        &mut self,
        handle: &Handle,
        due: Vec<Arc<str>>,
        now: Timestamp,
    ) -> Result<(), CommandError> {
        let mut answers: HashMap<Question, Arc<[Used]>> = HashMap::new();
        for id in due {
            let rule = Arc::clone(&self.rules[&id].rule);
            let mut spans = Vec::with_capacity(2);
            for lookback in rule.lookbacks() {
                let question = (rule.org.clone(), rule.subject.kind, lookback);
                let used = match answers.get(&question) {
                    Some(used) => Arc::clone(used),
                    None => Arc::from(used_in_span(handle, &question, now).await?),
                };
                answers.insert(question, Arc::clone(&used));
                spans.push(used);
            }
            let (Some(first), Some(last)) = (spans.first(), spans.last()) else { continue };
            let hits = rule.hits(first);
            let acts_on = rule.restrict(&hits, last);
            self.tell(handle, &id, &rule, &hits, now).await?;
            let watched = self.rules.get_mut(&id).expect("a rule that is due is watched");
            (watched.hits, watched.acts_on) = (Some(hits), acts_on);
        }
        Ok(())
    }

    /// Keeps that a rule has fired, once for each subject that reaches it: not again before that was seen below it.
    async fn tell(
        &self,
        handle: &Handle,
        id: &Arc<str>,
        rule: &Rule,
        hits: &BTreeMap<Arc<str>, Hit>,
        now: Timestamp,
    ) -> Result<(), CommandError> {
        let before = self.rules[id].hits.as_ref();
        let mut new =
            hits.iter().filter(|(subject, _)| before.is_none_or(|hits| !hits.contains_key(*subject)));
        let Some(first) = new.next() else { return Ok(()) };
        // Another instance, or this one before it was started anew, may have seen it reach this.
        let since = match before {
            Some(_) => self.looked_at.minus_ms(SKEW_MS),
            None => rule.lookback().map_or(now, |span| span.start(now)),
        };
        let since = since.max(rule.updated_at);
        let mut firings = handle.entry::<Firings>(id).await?.unwrap_or_default();
        let new_subjects: Vec<_> =
            std::iter::once(first).chain(new).filter(|(subject, _)| !firings.fired(subject, since)).collect();
        for (subject, hit) in &new_subjects {
            let Hit { users, totals } = hit;
            let tokens = totals.usage.total_tokens();
            info!(rule = &**id, name = &*rule.name, org = %rule.org, subject = &***subject, tokens, cost = %totals.cost, "a rule was reached");
            firings.add(Firing {
                id: format!("trigger_{:012x}_{subject}", now.0).into(),
                at: now,
                subject: Arc::clone(subject),
                user_count: users.len() as u64,
                tokens,
                cost: totals.cost,
                requests: totals.usage.requests,
            });
        }
        match new_subjects.is_empty() {
            true => Ok(()),
            false => handle.set_entry(id, Some(&firings)).await,
        }
    }

    /// Does to users what the rules say now, and undoes what they no longer say.
    async fn act(&mut self, handle: &Handle, now: Timestamp) -> Result<(), CommandError> {
        let wanted = self.wanted(now);
        let mut changes: Vec<(UserId, Option<RuleAction>)> = self
            .in_force
            .keys()
            .filter(|user| !wanted.contains_key(*user))
            .map(|user| (user.clone(), None))
            .collect();
        let renewed = wanted.into_iter().filter(|(user, rule_action)| {
            let is_same = |held: &RuleAction| {
                // One that has longer to go than any lasts was made before the clock was set back.
                (&held.reason, held.delay_ms) == (&rule_action.reason, rule_action.delay_ms)
                    && (HOLD_MS / 2 + 1..=HOLD_MS).contains(&held.expires_at.since(now))
            };
            !self.in_force.get(user).is_some_and(is_same)
        });
        changes.extend(renewed.map(|(user, rule_action)| (user, Some(rule_action))));
        for slice in changes.chunks(PORTION_MAX) {
            handle.apply_rule_actions(slice.to_vec()).await?;
            for (user, rule_action) in slice.iter().cloned() {
                match rule_action {
                    Some(rule_action) => self.in_force.insert(user, rule_action),
                    None => self.in_force.remove(&user),
                };
            }
        }
        Ok(())
    }

    /// Of several rules that block a user the first is told, and the longest delay counts.
    fn wanted(&self, now: Timestamp) -> HashMap<UserId, RuleAction> {
        let mut wanted: HashMap<UserId, RuleAction> = HashMap::new();
        for WatchedRule { rule, acts_on, .. } in self.rules.values() {
            let (reason, delay) = (rule.reason(), delay_ms(rule.restriction));
            if reason.is_none() && delay == 0 {
                continue;
            }
            for user in acts_on.values().flat_map(|hit| &hit.users) {
                let rule_action = wanted.entry(user.clone()).or_insert_with(|| {
                    let since = self.in_force.get(user).map_or(now, |held| held.since);
                    RuleAction { reason: None, since, delay_ms: 0, expires_at: now.plus_ms(HOLD_MS) }
                });
                rule_action.reason = rule_action.reason.take().or_else(|| reason.clone());
                rule_action.delay_ms = rule_action.delay_ms.max(delay);
            }
        }
        wanted
    }
}

fn delay_ms(restriction: Restriction) -> u64 {
    match restriction {
        Restriction::Throttle { delay_ms } => delay_ms,
        Restriction::Warning | Restriction::RateLimit { .. } | Restriction::Block => 0,
    }
}

/// What each org has used in this hour, which tells which orgs used anything.
async fn used_by_org(handle: &Handle, now: Timestamp) -> Result<HashMap<OrgId, Totals>, CommandError> {
    let (from, by) = (Grain::Hour.start(now), vec![Dimension::Org]);
    let rows = handle.usage(UsageQuery { from, by, ..UsageQuery::default() }).await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.key.org?, row.totals))).collect())
}

async fn used_in_span(
    handle: &Handle,
    (org, kind, lookback): &Question,
    now: Timestamp,
) -> Result<Vec<Used>, CommandError> {
    let by = match kind {
        SubjectKind::User => vec![Dimension::User],
        SubjectKind::Feature => vec![Dimension::User, Dimension::Feature],
        SubjectKind::Group => return Ok(Vec::new()),
    };
    let question =
        UsageQuery { from: lookback.start(now), org: Some(org.clone()), by, ..UsageQuery::default() };
    let rows = handle.usage(question).await?;
    let used = |row: crate::store::UsageRow| {
        Some(Used { user: row.key.user?, feature: row.key.feature, totals: row.totals })
    };
    Ok(rows.into_iter().filter_map(used).collect())
}

const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at all rules within an hour.
const WHOLE_PAUSE: Duration = Duration::from_secs(60);
/// What a rule does ends so long after the last look that said so.
const HOLD_MS: u64 = 5 * MINUTE_MS;
/// How far apart the clocks of instances may be, for what they tell each other.
const SKEW_MS: u64 = 10 * SECOND_MS;
