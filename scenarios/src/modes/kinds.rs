//! Every data mode, alone and in batches, with a target that wants bytes and one that says where they
//! are.

use ublk::uapi::Features;

use crate::scenario::Scenario;

const ZC: Features = Features::SUPPORT_ZERO_COPY;
const AUTO: Features = Features::AUTO_BUF_REG;
const BATCH: Features = Features::BATCH_IO;

kind!(
    GET_DATA_RAM,
    "modes/get-data-ram",
    "a ramdisk that asks for each write's bytes keeps scattered I/O",
    "ram": 2 x 32,
    Features::NEED_GET_DATA,
    &["--mode", "get-data"]
);
kind!(
    USER_COPY_RAM,
    "modes/user-copy-ram",
    "a ramdisk with user copy keeps scattered I/O",
    "ram": 2 x 32,
    Features::USER_COPY,
    &["--mode", "user-copy"]
);
kind!(
    USER_COPY_FILE,
    "modes/user-copy-file",
    "a file target with user copy keeps scattered I/O",
    "file": 2 x 32,
    Features::USER_COPY,
    &["--mode", "user-copy"]
);
kind!(
    ZERO_COPY_FILE,
    "modes/zero-copy-file",
    "a file target with pages registered by hand keeps scattered I/O",
    "file": 2 x 32,
    ZC,
    &["--mode", "zero-copy"]
);
kind!(
    ZERO_COPY_RAM,
    "modes/zero-copy-ram",
    "a ramdisk on a zero-copy device gets its bytes by user copy and keeps scattered I/O",
    "ram": 2 x 32,
    ZC,
    &["--mode", "zero-copy"]
);
kind!(
    AUTO_FILE,
    "modes/auto-zero-copy-file",
    "a file target with pages registered by the kernel keeps scattered I/O",
    "file": 2 x 32,
    AUTO,
    &["--mode", "auto-zero-copy"]
);
kind!(
    AUTO_FALLBACK_FILE,
    "modes/auto-zero-copy-fallback-file",
    "a file target with automatic registration and a fallback keeps scattered I/O",
    "file": 2 x 32,
    AUTO,
    &["--mode", "auto-zero-copy-fallback"]
);
kind!(
    BATCH_RAM,
    "modes/batch-copy-ram",
    "a ramdisk with batched commands keeps scattered I/O",
    "ram": 2 x 32,
    BATCH,
    &["--batch"]
);
kind!(
    BATCH_FILE,
    "modes/batch-copy-file",
    "a file target with batched commands keeps scattered I/O",
    "file": 2 x 32,
    BATCH,
    &["--batch"]
);
kind!(
    BATCH_USER_COPY_RAM,
    "modes/batch-user-copy-ram",
    "a ramdisk with batched commands and user copy keeps scattered I/O",
    "ram": 2 x 32,
    BATCH,
    &["--batch", "--mode", "user-copy"]
);
kind!(
    BATCH_ZERO_COPY_FILE,
    "modes/batch-zero-copy-file",
    "a file target with batched commands and pages registered by hand keeps scattered I/O",
    "file": 2 x 32,
    BATCH,
    &["--batch", "--mode", "zero-copy"]
);
kind!(
    BATCH_AUTO_FILE,
    "modes/batch-auto-zero-copy-file",
    "a file target with batched commands and automatic registration keeps scattered I/O",
    "file": 2 x 32,
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
