//! A seed and which of its steps are taken: played to its end, shrunk where it fails, and kept as a row of text.
//!
//! What a step does follows from the seed, its number, and what it finds. So one may be left out and all others are
//! still what they were, as far as they can be.

use crate::coverage::Coverage;
use crate::plant::Plant;
use crate::story;
use crate::world::World;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// Steps of a seed.
pub const STEP_COUNT: u64 = 300;
/// How often a failing scenario is played while it is shrunk.
const SHRINK_COUNT: usize = 600;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub seed: u64,
    pub plant: Plant,
    /// In this order; `None` is all.
    pub steps: Option<Vec<u64>>,
}

/// A scenario that was played to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// The same for the same scenario.
    pub trace: u64,
    pub coverage: Coverage,
}

/// What was not true, and where that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl Scenario {
    pub fn of(seed: u64) -> Scenario {
        Scenario { seed, plant: Plant::Nothing, steps: None }
    }

    /// Reads what [`fmt::Display`] writes. What comes after a `#` is for people.
    pub fn parse(row: &str) -> Option<Scenario> {
        let row = row.split('#').next()?.trim();
        let mut numbers = row.split_whitespace().map(str::parse);
        let seed = numbers.next()?.ok()?;
        let steps: Vec<u64> = numbers.collect::<Result<_, _>>().ok()?;
        Some(Scenario { steps: (!steps.is_empty()).then_some(steps), ..Scenario::of(seed) })
    }

    /// # Errors
    /// Something was not true that always must be.
    pub fn play(&self) -> Result<Played, Failure> {
        quietly(|| {
            let mut world = World::new(self.seed, self.plant);
            match &self.steps {
                Some(steps) => steps.iter().for_each(|&step| world.step(step)),
                None => (0..STEP_COUNT).for_each(|step| world.step(step)),
            }
            world.finish();
            Played { trace: world.trace(), coverage: world.coverage }
        })
    }

    /// What happens in it, a line a step, as far as it comes.
    pub fn story(&self) -> String {
        story::of(|| drop(self.play()))
    }

    /// The same failure, or another, with as few steps as can be found in some hundred plays.
    pub fn shrunk(&self) -> Scenario {
        let mut steps = self.steps.clone().unwrap_or_else(|| (0..STEP_COUNT).collect());
        let mut plays = 0;
        let mut fails = |steps: &[u64]| {
            plays += 1;
            plays <= SHRINK_COUNT && Scenario { steps: Some(steps.to_vec()), ..self.clone() }.play().is_err()
        };
        let mut size = steps.len() / 2;
        while size > 0 {
            let mut from = 0;
            while from < steps.len() {
                let to = (from + size).min(steps.len());
                let fewer = [&steps[..from], &steps[to..]].concat();
                if !fewer.is_empty() && fails(&fewer) {
                    steps = fewer;
                } else {
                    from = to;
                }
            }
            size /= 2;
        }
        Scenario { steps: Some(steps), ..self.clone() }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        self.steps.iter().flatten().try_for_each(|step| write!(f, " {step}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

thread_local! {
    /// What was said by the last panic, while it is for us to say.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    static IS_QUIET: RefCell<bool> = const { RefCell::new(false) };
}

/// A panic in `act` is a failure, and nothing is printed of it.
pub(crate) fn quietly<T>(act: impl FnOnce() -> T) -> Result<T, Failure> {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if IS_QUIET.with(|quiet| *quiet.borrow()) {
                SAID.with(|said| *said.borrow_mut() = Some(panic.to_string()));
            } else {
                before(panic);
            }
        }));
    });
    IS_QUIET.with(|quiet| quiet.replace(true));
    let done = catch_unwind(AssertUnwindSafe(act));
    IS_QUIET.with(|quiet| quiet.replace(false));
    done.map_err(|_| Failure(SAID.with(|said| said.take()).unwrap_or_default()))
}
