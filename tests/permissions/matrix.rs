//! Every operation with every combination of rights: the table of RabbitMQ's documentation, cell by cell.

use std::fmt::Debug;

use crate::world::World;

/// What is done, and which rights to which names it needs, in the order in which they are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<T> {
    operation: T,
    needs: &'static [(Right, &'static str)],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Right {
    Configure,
    Write,
    Read,
}

/// What is done to what [`World::furnish`] has made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    DeclareExchange,
    DeclareExchangeWithAlternate,
    DeclareExchangePassively,
    DeleteExchange,
    BindExchange,
    UnbindExchange,
    DeclareQueue,
    DeclareQueueAgain,
    DeclareQueueWithDeadLetters,
    DeclareQueuePassively,
    DeleteQueue,
    PurgeQueue,
    BindQueue,
    UnbindQueue,
    Publish,
    PublishToQueue,
    Consume,
    Get,
}

pub(crate) const fn row<T>(operation: T, needs: &'static [(Right, &'static str)]) -> Row<T> {
    Row { operation, needs }
}

const ROWS: [Row<Operation>; 18] = {
    use Operation::*;
    use Right::*;
    [
        row(DeclareExchange, &[(Configure, "exchange 'new'")]),
        row(
            DeclareExchangeWithAlternate,
            &[(Configure, "exchange 'new'"), (Read, "exchange 'new'"), (Write, "exchange 'x'")],
        ),
        row(DeclareExchangePassively, &[]),
        row(DeleteExchange, &[(Configure, "exchange 'x'")]),
        row(BindExchange, &[(Write, "exchange 'x'"), (Read, "exchange 'y'")]),
        row(UnbindExchange, &[(Write, "exchange 'x'"), (Read, "exchange 'y'")]),
        row(DeclareQueue, &[(Configure, "queue 'new'")]),
        row(DeclareQueueAgain, &[(Configure, "queue 'q'")]),
        row(
            DeclareQueueWithDeadLetters,
            &[(Configure, "queue 'new'"), (Read, "queue 'new'"), (Write, "exchange 'x'")],
        ),
        row(DeclareQueuePassively, &[]),
        row(DeleteQueue, &[(Configure, "queue 'q'")]),
        row(PurgeQueue, &[(Read, "queue 'q'")]),
        row(BindQueue, &[(Write, "queue 'r'"), (Read, "exchange 'x'")]),
        row(UnbindQueue, &[(Write, "queue 'q'"), (Read, "exchange 'x'")]),
        row(Publish, &[(Write, "exchange 'x'")]),
        row(PublishToQueue, &[(Write, "exchange 'amq.default'")]),
        row(Consume, &[(Read, "queue 'q'")]),
        row(Get, &[(Read, "queue 'q'")]),
    ]
};

/// Does every operation with every combination of rights, on one connection: rights hold from when they are set.
pub(crate) fn check(world: &World, act: impl FnMut(Operation) -> Result<(), (u16, String)>) {
    check_rows(world, &ROWS, act);
}

/// The same for other operations.
pub(crate) fn check_rows<T: Copy + Debug>(
    world: &World,
    rows: &[Row<T>],
    mut act: impl FnMut(T) -> Result<(), (u16, String)>,
) {
    for &Row { operation, needs } in rows {
        for rights in 0..8 {
            let has = |right: Right| rights & (1 << right as u8) != 0;
            let pattern = |right| if has(right) { ".*" } else { "" };
            world.allow("", "", "");
            world.furnish();
            world.allow(pattern(Right::Configure), pattern(Right::Write), pattern(Right::Read));
            let outcome = act(operation);
            let expected = needs.iter().find(|(right, _)| !has(*right));
            let expected = expected.map_or(Ok(()), |(_, what)| {
                let text =
                    format!("ACCESS_REFUSED - access to {what} in vhost '/' refused for user 'worker'");
                Err((403, text))
            });
            let has = [Right::Configure, Right::Write, Right::Read].map(pattern);
            assert_eq!(outcome, expected, "{operation:?} with the rights {has:?}");
        }
    }
}
