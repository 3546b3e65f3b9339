//! Two small macros the ABI files share: flag words that print their names, and layout assertions that cannot
//! forget a field.

/// Declares a flag word as a transparent newtype.
///
/// Unknown bits are kept, because a newer kernel may report some, and are printed as a hexadecimal rest.
macro_rules! flag_set {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $repr:ty {
            $( $(#[$flag_meta:meta])* const $flag:ident = $value:expr; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
        )]
        #[repr(transparent)]
        pub struct $name($repr);

        impl $name {
            $( $(#[$flag_meta])* pub const $flag: Self = Self($value); )*

            /// Every named flag with its name, in order of the bits.
            pub const NAMED: &'static [(&'static str, Self)] =
                &[$( (stringify!($flag), Self::$flag) ),*];

            /// No flag at all.
            #[must_use]
            pub const fn empty() -> Self {
                Self(0)
            }

            /// All bits that have a name here.
            #[must_use]
            pub const fn all() -> Self {
                Self(0 $( | $value )*)
            }

            /// Takes a raw word; bits without a name are kept.
            #[must_use]
            pub const fn from_bits(bits: $repr) -> Self {
                Self(bits)
            }

            /// The raw word.
            #[must_use]
            pub const fn bits(self) -> $repr {
                self.0
            }

            /// Whether no bit is set.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether every bit of `other` is set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any bit of `other` is set.
            #[must_use]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// The bits of both; usable in constants, where `|` is not.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// These bits without those of `other`.
            #[must_use]
            pub const fn difference(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// The set bits that have no name here.
            #[must_use]
            pub const fn unknown(self) -> $repr {
                self.0 & !Self::all().0
            }

            /// Names of the set flags, in order of the bits.
            #[must_use]
            pub fn names(self) -> Vec<&'static str> {
                Self::NAMED.iter().filter(|(_, f)| self.contains(*f)).map(|(n, _)| *n).collect()
            }

            /// The flag of that name, or `None`.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::NAMED.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl std::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl std::ops::BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl std::ops::Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                self.difference(other)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut separator = "";
                for name in self.names() {
                    write!(out, "{separator}{name}")?;
                    separator = "|";
                }
                match self.unknown() {
                    0 if separator.is_empty() => out.write_str("0"),
                    0 => Ok(()),
                    rest => write!(out, "{separator}{rest:#x}"),
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

pub(crate) use flag_set;

/// Asserts the size of a wire struct and the offset of each field, and publishes the same table to tests.
///
/// The destructuring pattern makes a field that the table forgets a compile error.
macro_rules! layout {
    ($name:ident: $size:literal { $( $field:ident @ $offset:literal ),* $(,)? }) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            $( assert!(std::mem::offset_of!($name, $field) == $offset); )*
        };

        impl $name {
            /// Name and byte offset of every field, as the kernel defines them.
            pub const FIELD_OFFSETS: &'static [(&'static str, usize)] =
                &[$( (stringify!($field), $offset) ),*];

            #[allow(dead_code)] // Only here to be type-checked: the pattern must name every field.
            fn layout_names_every_field(value: &Self) {
                let Self { $( $field: _ ),* } = value;
            }
        }
    };
}
