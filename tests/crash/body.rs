//! Bodies that say who they are, and show whether they are whole.

use super::ledger::Id;

/// Bytes in front of the filling: publisher, number, length.
const HEAD: usize = 2 + 8 + 4;

/// The body of a message: `len` bytes, at least as many as its head has.
pub(crate) fn make(id: Id, len: usize) -> Vec<u8> {
    let len = len.max(HEAD);
    let mut body = Vec::with_capacity(len);
    body.extend(id.publisher.to_be_bytes());
    body.extend(id.number.to_be_bytes());
    body.extend((len as u32).to_be_bytes());
    body.extend((HEAD..len).map(|at| filling(id, at)));
    body
}

/// Whose body this is. Panics where it is not as it was published.
pub(crate) fn read(body: &[u8]) -> Id {
    assert!(body.len() >= HEAD, "a body of {} bytes, which nobody published", body.len());
    let publisher = u16::from_be_bytes([body[0], body[1]]);
    let number = u64::from_be_bytes(body[2..10].try_into().expect("eight bytes"));
    let id = Id { publisher, number };
    let len = u32::from_be_bytes(body[10..14].try_into().expect("four bytes")) as usize;
    assert_eq!(body.len(), len, "the body of {id} has another length");
    for (at, &byte) in body.iter().enumerate().skip(HEAD) {
        assert_eq!(byte, filling(id, at), "byte {at} of the body of {id} is another");
    }
    id
}

/// Differs from message to message and from byte to byte, so that a mix-up shows.
fn filling(id: Id, at: usize) -> u8 {
    let mixed = (id.number.wrapping_mul(31).wrapping_add(at as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8
}
