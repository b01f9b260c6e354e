//! Scenarios with a name: situations in which others that meter have let people down, each with what must come of it
//! and, where one can be planted, the fault that stands for its mechanism being gone.
//!
//! Start at [`all`]. What is promised and does not show here, and why:
//! - questions to the past, their deadlines and readers, the log, supervised threads: there are no threads, and nothing
//!   lasts;
//! - pings, frames that break the protocol, heads, what passes up and down, races for an address, ports, descriptors,
//!   drains of a ring, CPUs: there are no sockets;
//! - the admin port with its bodies, throttles, sign-ins, registrations, logins that are demoted, and files that are
//!   read again: they lie above what is here;
//! - Redis and MongoDB of other kinds and ages, clusters of them: drivers are not run;
//! - how ids, money and tables are read and written: they have no state.

mod peers;
mod seats;
mod spans;
mod turns;
mod words;

use crate::plant::Plant;
use crate::scenario::{Failure, quietly};
use crate::script::plain;
use crate::shape::{Keep, Shape};
use crate::world::World;
use std::fmt;

/// A scenario with a name.
#[derive(Clone, Copy)]
pub struct Named {
    /// What it shows, as a sentence.
    pub name: &'static str,
    /// Where nothing stands for its mechanism being gone: `None`.
    pub without: Option<Plant>,
    shape: fn() -> Shape,
    play: fn(&mut World),
}

impl Named {
    /// # Errors
    /// What came of it is not what must.
    pub fn play(&self, plant: Plant) -> Result<(), Failure> {
        quietly(|| {
            let mut world = World::scripted((self.shape)(), plant);
            (self.play)(&mut world);
            world.check();
        })
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them.
pub fn all() -> Vec<Named> {
    [seats::ALL, spans::ALL, turns::ALL, peers::ALL, words::ALL].concat()
}
