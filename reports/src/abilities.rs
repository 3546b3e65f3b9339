//! What a kernel can do that a ublk server depends on, as the guest's agent asked it: a matrix of kernels has to say
//! not only what came out, but what there was to come out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a kernel can do beside running scenarios. Everything in it is an answer, and nothing a conclusion from a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Abilities {
    /// Names of the bits that GET_FEATURES answers, lowest first; a bit that the agent has no name for is a hexadecimal
    /// number. Empty where the command is not answered.
    pub features: Vec<String>,
    /// Whether opcodes without the ioctl encoding are taken (`CONFIG_BLKDEV_UBLK_LEGACY_OPCODES`).
    pub legacy_opcodes: Option<bool>,
    /// Whether the block layer has zones; GET_FEATURES offers ZONED without them.
    pub zoned: Option<bool>,
    /// What io_uring offers; nothing where no ring can be made.
    pub io_uring: Option<RingAbilities>,
}

/// What io_uring offers to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RingAbilities {
    /// Operations that IORING_REGISTER_PROBE says are there, of all there are.
    pub operations: u32,
    /// Names of those ring setups that servers want and `io_uring_setup` takes, as `DEFER_TASKRUN`.
    pub setups: Vec<String>,
    /// Names of those operations that servers want and the probe names, as `URING_CMD`.
    pub wanted: Vec<String>,
}
