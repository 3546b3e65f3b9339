//! The ways in which bytes go between a request and its server, as a table: a property is stated once and asked in each.

use ublk::uapi::Features;

/// How bytes get from a request to its server and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The driver copies, before a delivery and at a commit.
    Copy,
    /// The driver copies, once the server has asked for a write's bytes.
    GetData,
    /// The server copies, by pread and pwrite.
    UserCopy,
    /// The server registers the request's pages.
    ZeroCopy,
    /// The kernel has registered them at the delivery.
    Auto,
}

/// One way, with a command for each tag or with one for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) name: &'static str,
    pub(super) way: Way,
    pub(super) batch: bool,
}

impl Mode {
    const fn new(name: &'static str, way: Way, batch: bool) -> Self {
        Self { name, way, batch }
    }

    pub(super) const COPY: Self = Self::new("copy", Way::Copy, false);
    pub(super) const GET_DATA: Self = Self::new("get-data", Way::GetData, false);
    pub(super) const USER_COPY: Self = Self::new("user-copy", Way::UserCopy, false);
    pub(super) const ZERO_COPY: Self = Self::new("zero-copy", Way::ZeroCopy, false);
    pub(super) const AUTO: Self = Self::new("auto", Way::Auto, false);
    pub(super) const BATCH_COPY: Self = Self::new("batch-copy", Way::Copy, true);
    pub(super) const BATCH_USER_COPY: Self = Self::new("batch-user-copy", Way::UserCopy, true);
    pub(super) const BATCH_ZERO_COPY: Self = Self::new("batch-zero-copy", Way::ZeroCopy, true);
    pub(super) const BATCH_AUTO: Self = Self::new("batch-auto", Way::Auto, true);

    /// What ADD_DEV is asked for.
    pub(super) fn features(self) -> Features {
        let way = match self.way {
            Way::Copy => Features::empty(),
            Way::GetData => Features::NEED_GET_DATA,
            Way::UserCopy => Features::USER_COPY,
            Way::ZeroCopy => Features::SUPPORT_ZERO_COPY,
            Way::Auto => Features::AUTO_BUF_REG.union(Features::SUPPORT_ZERO_COPY),
        };
        way | if self.batch { Features::BATCH_IO } else { Features::empty() }
    }

    /// Whether the driver itself moves the bytes, to and from memory that the server has named.
    pub(super) fn driver_copies(self) -> bool {
        matches!(self.way, Way::Copy | Way::GetData)
    }

    /// Whether pages get into a ring's table.
    pub(super) fn registers(self) -> bool {
        matches!(self.way, Way::ZeroCopy | Way::Auto)
    }
}
