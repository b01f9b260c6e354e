//! How the descriptors that the system grants are shared out: what is kept for the process itself and for its
//! operators, and how many sessions the rest is for.

use anyhow::{Context, bail};

/// The ledger and its readers, MongoDB and Redis, the log, the resolver, what threads wake each other with.
const PROCESS: u64 = 96;
/// A shard's ring, notifiers and listeners, those it refuses, and further addresses of a provider that are tried at once.
const SHARD: u64 = 16;
/// The application's connection and the provider's.
const SESSION: u64 = 2;
/// Of a small allowance operators get this part.
const ADMIN_PART: u64 = 8;

/// What there is, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// What the system grants this process.
    pub(crate) granted: u64,
    /// Sessions of one shard.
    pub(crate) session_max: usize,
    /// Connections that one shard may hold open only to refuse them.
    pub(crate) refusal_max: usize,
    /// Connections of operators.
    pub(crate) admin_max: usize,
}

/// Raises the process's own limit to the highest that the system grants, and shares that out.
///
/// # Errors
/// It is not enough for one session a shard.
pub(crate) fn share(shard_count: usize, session_max: usize, admin_max: usize) -> anyhow::Result<Share> {
    let granted = rlimit::increase_nofile_limit(u64::MAX).context("raising the limit of open files")?;
    let share = share_out(granted, shard_count, session_max, admin_max)?;
    if share.session_max < session_max {
        tracing::warn!(
            open_files = granted,
            asked = session_max,
            session_max = share.session_max,
            "proxy.session_max follows what the system grants: raise the limit of open files (ulimit -Hn, LimitNOFILE=) \
             to {}",
            needed(shard_count, session_max, admin_max)
        );
    }
    Ok(share)
}

fn share_out(
    granted: u64,
    shard_count: usize,
    session_max: usize,
    admin_max: usize,
) -> anyhow::Result<Share> {
    let shards = shard_count as u64;
    let refusals = |sessions: u64| (sessions / 8).clamp(4, 64);
    let admin = (admin_max as u64).min(granted / ADMIN_PART);
    let left = granted.saturating_sub(PROCESS + admin) / shards.max(1);
    let left = left.saturating_sub(SHARD);
    let sessions = (left.saturating_sub(refusals(left / SESSION)) / SESSION).min(session_max as u64);
    if sessions == 0 {
        bail!(
            "the system grants this process {granted} open files, which is not enough: raise the limit (ulimit -Hn, \
             LimitNOFILE=) to {}, or to {} for one session on each of {shards} shards",
            needed(shard_count, session_max, admin_max),
            needed(shard_count, 1, admin_max)
        );
    }
    Ok(Share {
        granted,
        session_max: sessions as usize,
        refusal_max: refusals(sessions) as usize,
        admin_max: admin as usize,
    })
}

/// How many open files all that was asked for would take.
fn needed(shard_count: usize, session_max: usize, admin_max: usize) -> u64 {
    let (sessions, shards, admin) = (session_max as u64, shard_count as u64, admin_max as u64);
    let needed = PROCESS + admin + shards * (SHARD + sessions * SESSION + (sessions / 8).clamp(4, 64));
    needed.max(admin * ADMIN_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_out_is_never_more_than_what_is_granted() {
        for granted in [200, 256, 300, 1024, 4096, 65_536, 1 << 20] {
            for shards in [1, 2, 8, 64] {
                let Ok(share) = share_out(granted, shards, 20_000, 256) else { continue };
                let Share { session_max, refusal_max, admin_max, .. } = share;
                let per_shard = SHARD + (session_max as u64) * SESSION + refusal_max as u64;
                let all = PROCESS + admin_max as u64 + per_shard * shards as u64;
                assert!(all <= granted, "{share:?} on {shards} shards is {all}");
                assert!(session_max >= 1 && admin_max >= 25, "{share:?}");
            }
        }
    }

    #[test]
    fn sessions_follow_what_is_granted_and_what_is_asked() {
        assert_eq!(share_out(1 << 20, 2, 20_000, 256).unwrap().session_max, 20_000);
        assert_eq!(share_out(1 << 20, 2, 20_000, 256).unwrap().admin_max, 256);
        let few = share_out(1024, 2, 20_000, 256).unwrap();
        assert!((100..200).contains(&few.session_max) && few.admin_max == 128, "{few:?}");
        assert!(share_out(100, 1, 20_000, 256).is_err());
        assert!(share_out(1024, 64, 20_000, 256).is_err(), "not one session for each shard");
        for (shards, sessions) in [(1, 1), (2, 20_000), (64, 20_000), (8, 100)] {
            let granted = needed(shards, sessions, 256);
            let share = share_out(granted, shards, sessions, 256).unwrap();
            assert!(share.session_max + 1 >= sessions && share.admin_max == 256, "{granted}: {share:?}");
        }
    }
}
