//! Random text that is unique, but not secret.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

pub(crate) fn hex_digits(count: usize) -> String {
    let random = || format!("{:016x}", RandomState::new().build_hasher().finish());
    let mut digits: String = (0..count.div_ceil(16)).map(|_| random()).collect();
    digits.truncate(count);
    digits
}
