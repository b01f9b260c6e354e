//! Starts and stops the built binaries for the tests.
