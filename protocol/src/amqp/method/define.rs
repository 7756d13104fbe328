//! What the lines of the method table become: a struct per method, the enum of all of them, ids, names, codecs.

/// The Rust type of a field, by the word for it in the table.
#[rustfmt::skip] // a line for each type
macro_rules! field_value {
    (bit) => { bool };
    (octet) => { u8 };
    (short) => { u16 };
    (long) => { u32 };
    (longlong) => { u64 };
    (shortstr) => { ShortStr };
    (longstr) => { Bytes };
    (secret) => { Bytes };
    (table) => { FieldTable };
}

/// The [`super::FieldType`] of a field, by the word for it in the table.
#[rustfmt::skip] // a line for each type
macro_rules! field_type {
    (bit) => { FieldType::Bit };
    (octet) => { FieldType::Octet };
    (short) => { FieldType::Short };
    (long) => { FieldType::Long };
    (longlong) => { FieldType::Longlong };
    (shortstr) => { FieldType::Shortstr };
    (longstr) => { FieldType::Longstr };
    (secret) => { FieldType::Longstr };
    (table) => { FieldType::Table };
}

/// What `Debug` shows of a field: of a secret, that there is one.
#[rustfmt::skip] // a line for each type
macro_rules! field_shown {
    (secret, $value:expr) => { &format_args!("(secret)") };
    ($kind:ident, $value:expr) => { $value };
}

/// Makes everything that follows from the table; its syntax is explained there.
macro_rules! methods {
    ($(
        class $class:literal {
            $(
                $(#[$doc:meta])*
                $method:literal $name:ident $id:ident $text:literal $(+ $content:ident)? {
                    $( $(_: $reserved:ident)? $($field:ident: $kind:ident = $field_doc:literal)? ; )*
                }
            )*
        }
    )*) => {
        $($(
            $(#[$doc])*
            #[derive(Clone, Default, PartialEq)]
            pub struct $name {
                $($(
                    #[doc = $field_doc]
                    pub $field: field_value!($kind),
                )?)*
            }

            impl $name {
                fn read(fields: &mut FieldReader<'_>) -> WireResult<Self> {
                    let _ = &fields;
                    $(
                        $( fields.$reserved("a reserved field")?; )?
                        $( let $field = fields.$kind(stringify!($field))?; )?
                    )*
                    Ok(Self { $($($field,)?)* })
                }

                fn write(&self, fields: &mut FieldWriter<'_>) {
                    let _ = &fields;
                    $(
                        $( fields.$reserved(&<field_value!($reserved)>::default()); )?
                        $( fields.$kind(&self.$field); )?
                    )*
                }
            }

            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.debug_struct(stringify!($name))
                        $($( .field(stringify!($field), field_shown!($kind, &self.$field)) )?)*
                        .finish()
                }
            }

            impl From<$name> for Method {
                fn from(method: $name) -> Method {
                    Method::$name(method)
                }
            }
        )*)*

        /// Every method of every class. Each variant holds the struct of the same name.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Method {
            $($(
                $(#[$doc])*
                $name($name),
            )*)*
        }

        impl Method {
            /// The method's ids.
            pub const fn id(&self) -> MethodId {
                match self { $($( Method::$name(_) => MethodId::$id, )*)* }
            }

            /// Reads the fields of the method `id`; `None` if there is no such method.
            fn read(id: MethodId, fields: &mut FieldReader<'_>) -> Option<WireResult<Method>> {
                Some(match id {
                    $($( MethodId::$id => $name::read(fields).map(Method::$name), )*)*
                    _ => return None,
                })
            }

            fn write(&self, fields: &mut FieldWriter<'_>) {
                match self { $($( Method::$name(method) => method.write(fields), )*)* }
            }
        }

        impl MethodId {
            $($(
                #[doc = concat!("`", $text, "`")]
                pub const $id: MethodId = MethodId { class: $class, method: $method };
            )*)*

            /// Every known method, in the order of the table.
            pub const ALL: &'static [MethodId] = &[$($( MethodId::$id, )*)*];

            /// The method's name in texts (`basic.publish`), as RabbitMQ writes it; `none` if it is unknown.
            pub const fn name(self) -> &'static str {
                match self { $($( MethodId::$id => $text, )*)* _ => "none" }
            }

            /// Whether a content header and a body follow the method.
            pub const fn has_content(self) -> bool {
                match self { $($( MethodId::$id => methods!(@content $($content)?), )*)* _ => false }
            }

            /// The method's fields in order; `None` if it is unknown.
            pub const fn fields(self) -> Option<&'static [FieldSpec]> {
                Some(match self {
                    $($(
                        MethodId::$id => &[$(
                            $( FieldSpec { name: "", kind: field_type!($reserved) }, )?
                            $( FieldSpec { name: stringify!($field), kind: field_type!($kind) }, )?
                        )*],
                    )*)*
                    _ => return None,
                })
            }
        }
    };
    (@content) => { false };
    (@content content) => { true };
}

pub(super) use {field_shown, field_type, field_value, methods};
