//! [`OnBehalf`]: the work that waits for the current thread, so that a thread does not wait for itself.
//!
//! A renewal of a token runs in its own thread, which may run a caller's code: a token function, a proxy function or a
//! logger. If that code calls the consumer, the call must not wait for the renewal that it is a part of.

use std::cell::RefCell;

thread_local! {
    static CURRENT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The work that waits for a thread to finish, by the addresses of what is being worked on.
///
/// A thread that runs a caller's code for another thread, which waits for it, takes that thread's work along: that
/// thread gets its [`current`](OnBehalf::current) work, and the new one calls the function in [`run`](OnBehalf::run).
pub(crate) struct OnBehalf(Vec<usize>);

impl OnBehalf {
    /// Returns the work that waits for the current thread.
    pub(crate) fn current() -> Self {
        // While the thread ends, its variables may be gone already.
        OnBehalf(CURRENT.try_with(|current| current.borrow().clone()).unwrap_or_default())
    }

    pub(crate) fn contains(&self, work: usize) -> bool {
        self.0.contains(&work)
    }

    /// Adds work.
    pub(crate) fn and(mut self, work: usize) -> Self {
        self.0.push(work);
        self
    }

    /// Calls a function, during which the current thread does this work. A panic of the function passes through.
    pub(crate) fn run<T>(self, function: impl FnOnce() -> T) -> T {
        struct Restore(Vec<usize>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let _ = CURRENT.try_with(|current| current.swap(&RefCell::new(std::mem::take(&mut self.0))));
            }
        }
        let _restore = Restore(CURRENT.with(|current| current.replace(self.0)));
        function()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::thread;

    use super::*;

    #[test]
    fn work_is_done_in_its_function_and_in_the_threads_that_take_it_along() {
        let does = |work| OnBehalf::current().contains(work);
        OnBehalf::current().and(1).run(|| {
            OnBehalf::current().and(2).run(|| assert!(does(1) && does(2)));
            assert!(does(1) && !does(2));
            let on_behalf = OnBehalf::current();
            thread::spawn(move || on_behalf.run(|| assert!(does(1)))).join().unwrap();
            thread::spawn(move || assert!(!does(1))).join().unwrap();
        });
        assert!(!does(1));
        catch_unwind(|| OnBehalf::current().and(1).run(|| panic!("a panic for the test"))).unwrap_err();
        assert!(!does(1));
    }
}
