//! Takes over what other instances have set from a store's thread, which waits until it holds here.

use crate::error::CommandError;
use crate::handle::Handle;
use crate::setting::SettingUpdate;
use crate::store::{SettingSink, SinkError};
use std::io;
use tokio::runtime::{Builder, Runtime};

/// The aggregator, as a store knows it.
pub(crate) struct Adopter {
    handle: Handle,
    runtime: Runtime,
}

impl Adopter {
    pub(crate) fn new(handle: Handle) -> io::Result<Adopter> {
        Ok(Adopter { handle, runtime: Builder::new_current_thread().build()? })
    }
}

impl SettingSink for Adopter {
    fn adopt(&self, updates: Vec<SettingUpdate>) -> Result<(), SinkError> {
        match self.runtime.block_on(self.handle.adopt(updates)) {
            Ok(_) => Ok(()),
            Err(CommandError::Gone) => Err(SinkError::Gone),
            Err(cause) => Err(SinkError::NotNow(cause.to_string())),
        }
    }
}
