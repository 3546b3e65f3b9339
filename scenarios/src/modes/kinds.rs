//! Every data mode, alone and in batches, with a target that wants bytes and one that says where they
//! are.

use reports::budget::BudgetClass;
use ublk::uapi::Features;

use super::need;
use crate::data::scattered::{Setup, run};
use crate::scenario::Scenario;

macro_rules! kind {
    ($name:ident, $id:literal, $title:literal, $target:literal, $needs:expr, $options:expr) => {
        const $name: Scenario = Scenario {
            id: $id,
            title: $title,
            covers: &["S4", "S13"],
            budget: BudgetClass::Long,
            run: |context| {
                need($needs)?;
                let setup = Setup {
                    target: $target,
                    queues: 2,
                    depth: 32,
                    block_bytes: 512,
                    options: $options,
                };
                run(context, setup)
            },
            ..Scenario::SERVER
        };
    };
}

const ZC: Features = Features::SUPPORT_ZERO_COPY;
const AUTO: Features = Features::AUTO_BUF_REG;
const BATCH: Features = Features::BATCH_IO;

kind!(
    GET_DATA_RAM,
    "modes/get-data-ram",
    "a ramdisk that asks for each write's bytes keeps scattered I/O",
    "ram",
    Features::NEED_GET_DATA,
    &["--mode", "get-data"]
);
kind!(
    USER_COPY_RAM,
    "modes/user-copy-ram",
    "a ramdisk with user copy keeps scattered I/O",
    "ram",
    Features::USER_COPY,
    &["--mode", "user-copy"]
);
kind!(
    USER_COPY_FILE,
    "modes/user-copy-file",
    "a file target with user copy keeps scattered I/O",
    "file",
    Features::USER_COPY,
    &["--mode", "user-copy"]
);
kind!(
    ZERO_COPY_FILE,
    "modes/zero-copy-file",
    "a file target with pages registered by hand keeps scattered I/O",
    "file",
    ZC,
    &["--mode", "zero-copy"]
);
kind!(
    ZERO_COPY_RAM,
    "modes/zero-copy-ram",
    "a ramdisk on a zero-copy device gets its bytes by user copy and keeps scattered I/O",
    "ram",
    ZC,
    &["--mode", "zero-copy"]
);
kind!(
    AUTO_FILE,
    "modes/auto-zero-copy-file",
    "a file target with pages registered by the kernel keeps scattered I/O",
    "file",
    AUTO,
    &["--mode", "auto-zero-copy"]
);
kind!(
    AUTO_FALLBACK_FILE,
    "modes/auto-zero-copy-fallback-file",
    "a file target with automatic registration and a fallback keeps scattered I/O",
    "file",
    Features::AUTO_BUF_REG,
    &["--mode", "auto-zero-copy-fallback"]
);
kind!(
    BATCH_RAM,
    "modes/batch-copy-ram",
    "a ramdisk with batched commands keeps scattered I/O",
    "ram",
    BATCH,
    &["--batch"]
);
kind!(
    BATCH_FILE,
    "modes/batch-copy-file",
    "a file target with batched commands keeps scattered I/O",
    "file",
    BATCH,
    &["--batch"]
);
kind!(
    BATCH_USER_COPY_RAM,
    "modes/batch-user-copy-ram",
    "a ramdisk with batched commands and user copy keeps scattered I/O",
    "ram",
    BATCH,
    &["--batch", "--mode", "user-copy"]
);
kind!(
    BATCH_ZERO_COPY_FILE,
    "modes/batch-zero-copy-file",
    "a file target with batched commands and pages registered by hand keeps scattered I/O",
    "file",
    BATCH,
    &["--batch", "--mode", "zero-copy"]
);
kind!(
    BATCH_AUTO_FILE,
    "modes/batch-auto-zero-copy-file",
    "a file target with batched commands and automatic registration keeps scattered I/O",
    "file",
    BATCH,
    &["--batch", "--mode", "auto-zero-copy-fallback"]
);

pub(super) const SCENARIOS: &[Scenario] = &[
    GET_DATA_RAM,
    USER_COPY_RAM,
    USER_COPY_FILE,
    ZERO_COPY_FILE,
    ZERO_COPY_RAM,
    AUTO_FILE,
    AUTO_FALLBACK_FILE,
    BATCH_RAM,
    BATCH_FILE,
    BATCH_USER_COPY_RAM,
    BATCH_ZERO_COPY_FILE,
    BATCH_AUTO_FILE,
];
