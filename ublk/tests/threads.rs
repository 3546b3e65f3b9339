//! Which types may be sent to and shared with other threads, and which must not be: the kernel binds a tag
//! to the task that fetched it, and a queue's memory has turns but no locks. An `unsafe impl` or a field
//! too many would change it silently; here it no longer compiles.

use static_assertions::{assert_impl_all, assert_not_impl_any};
use ublk::ctrl::Control;
use ublk::device::{Device, Live};
use ublk::queue::{
    AsyncRequest, KillSwitch, LatencyHistogram, QueueCounters, QueueTicket, Request, Worker,
};
use ublk::raw::RawRing;
use ublk::server::{Server, ServerBuilder, StopHandle};
use ublk::sys::arena::Arena;
use ublk::target::{AsyncTarget, RamTarget, Target};
use ublk::testing::Disk;

// They belong to the thread that made them.
assert_not_impl_any!(Worker: Send, Sync, Clone);
assert_not_impl_any!(Request<'static>: Send, Sync, Clone);
assert_not_impl_any!(AsyncRequest: Send, Sync, Clone);

// They travel, and there is one of each: two would be two servers of one queue.
assert_impl_all!(QueueTicket: Send);
assert_not_impl_any!(QueueTicket: Clone);
assert_impl_all!(Control: Send);
assert_impl_all!(Device<Live>: Send);
assert_not_impl_any!(Device<Live>: Clone);
assert_impl_all!(Server: Send);
assert_not_impl_any!(Server: Clone);
assert_impl_all!(ServerBuilder: Send);
assert_not_impl_any!(RawRing: Clone);

// They are for several threads at once.
assert_impl_all!(StopHandle: Send, Sync, Clone);
assert_impl_all!(KillSwitch: Send, Sync);
assert_impl_all!(QueueCounters: Send, Sync);
assert_impl_all!(LatencyHistogram: Send, Sync);
assert_impl_all!(Arena: Send, Sync, Copy);
assert_impl_all!(dyn Target: Send, Sync);
assert_impl_all!(Disk<RamTarget>: Send, Sync);
const fn async_targets_are_shared<T: AsyncTarget>() {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<T>();
}

/// The assertions are made by the compiler; this is so that a report names them.
#[test]
fn what_may_travel_is_what_is_said_above() {
    struct Waits;
    impl AsyncTarget for Waits {
        fn size_bytes(&self) -> u64 {
            0
        }
        async fn handle(&self, _: &AsyncRequest) -> std::io::Result<()> {
            Ok(())
        }
    }
    async_targets_are_shared::<Waits>();
}
