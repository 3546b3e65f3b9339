//! How a request's bytes get to the server and back, as a word on the command line: the features of the
//! driver that each way needs.

use clap::ValueEnum;
use ublk::uapi::Features;

/// A data mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataMode {
    /// The kernel copies to and from a buffer of each tag.
    Copy,
    /// As copy, but a write's bytes come only when asked for.
    GetData,
    /// The server reads and writes them through the character device.
    UserCopy,
    /// The server registers a request's pages with its ring. Available since Linux 6.15.
    ZeroCopy,
    /// The kernel registers them as it delivers a request. Available since Linux 6.16.
    AutoBuf,
    /// Copy, with one command for many requests. Available since Linux 7.0.
    Batch,
    /// User copy, with one command for many requests. Available since Linux 7.0.
    BatchUserCopy,
    /// Pages registered by the kernel, with one command for many requests. Available since Linux 7.0.
    BatchAutoBuf,
}

impl DataMode {
    /// What the driver is asked for.
    pub(crate) fn features(self) -> Features {
        match self {
            Self::Copy => Features::empty(),
            Self::GetData => Features::NEED_GET_DATA,
            Self::UserCopy => Features::USER_COPY,
            Self::ZeroCopy => Features::SUPPORT_ZERO_COPY,
            Self::AutoBuf => Features::AUTO_BUF_REG,
            Self::Batch => Features::BATCH_IO,
            Self::BatchUserCopy => Features::BATCH_IO | Features::USER_COPY,
            Self::BatchAutoBuf => Features::BATCH_IO | Features::AUTO_BUF_REG,
        }
    }
}
