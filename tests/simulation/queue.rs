//! The queue from shards to the aggregator. It is bounded, and where one is asked for a fault is planted in it.

use crate::chance::Random;
use crate::plant::Plant;
use std::collections::VecDeque;
use tokenist_core::message::Delta;
use tokenist_handoff::{Report, ResponseReport};

#[derive(Debug)]
pub(crate) struct Queue {
    reports: VecDeque<Report>,
    reports_max: usize,
    plant: Plant,
    /// How often it shows, one in so many.
    planted_in: u64,
    chance: Random,
}

impl Queue {
    pub(crate) fn new(reports_max: usize, (plant, planted_in): (Plant, u64), chance: Random) -> Queue {
        Queue { reports: VecDeque::new(), reports_max, plant, planted_in, chance }
    }

    /// Gives the report back where there is no room.
    pub(crate) fn try_send(&mut self, report: Report) -> Option<Report> {
        if self.reports.len() >= self.reports_max {
            return Some(report);
        }
        let again = delta_of(&report).cloned();
        match (self.plant, again) {
            (Plant::LostDelta, Some(_)) if self.chance.once_in(self.planted_in) => return None,
            (Plant::DoubledReport, Some(delta)) if self.chance.once_in(self.planted_in) => {
                self.reports.push_back(Report::Charged(delta, None));
            }
            _ => {}
        }
        self.reports.push_back(report);
        None
    }

    pub(crate) fn take(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.reports.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter()
    }
}

pub(crate) fn delta_of(report: &Report) -> Option<&Delta> {
    match report {
        Report::Charged(delta, _) => Some(delta),
        Report::Response(heard) => match &**heard {
            ResponseReport::Stated { delta, .. } => Some(delta),
            ResponseReport::Answered { .. }
            | ResponseReport::UnderWay { .. }
            | ResponseReport::Failed { .. } => None,
        },
        Report::Admit { .. }
        | Report::Resume { .. }
        | Report::Show { .. }
        | Report::Find { .. }
        | Report::FindCall { .. }
        | Report::Call(_)
        | Report::Opened(_)
        | Report::Closed(_)
        | Report::Resumable { .. }
        | Report::Refused(_) => None,
    }
}
