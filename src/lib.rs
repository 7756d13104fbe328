//! rialto
