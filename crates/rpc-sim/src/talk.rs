//! The handler of a half-duplex stream: in its turn, it answers what it has heard.

use std::time::Duration;

use rpc_server::CheckpointsExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::handler::Handlers;
use crate::parts::answer;
use crate::pb::Part;
use crate::streams::{ID, Parts, messages, metadata};
use crate::turns::{Mouth, Party};
use crate::witness::{Ending, Kind};

/// Parts that wait for the stream.
pub(crate) const AHEAD: usize = 8;
/// How long it waits in its turn for something to answer.
const PATIENCE: Duration = Duration::from_millis(20);
/// Of so many parts that it hears, it says of one that it has heard it.
const NODS: u64 = 4;

pub(crate) fn talk(
    handlers: &Handlers,
    kind: Kind,
    request: Request<Streaming<Part>>,
) -> Result<Response<Parts>, Status> {
    let id = metadata(&request, ID)?;
    let (checkpoints, dialog) = (request.checkpoints()?, request.dialog()?);
    let answered = messages(checkpoints.resumed().as_ref());
    let from = messages(checkpoints.resumed_incoming().as_ref());
    let mut work = handlers.begin_stream(kind, &id, &request, from)?;
    let party = Party::server(&handlers.witness, &id, work.run, from);
    let mut parts = request.into_inner();
    let (answers, receiver) = mpsc::channel(AHEAD);
    let name = id.clone();
    let mouth = Mouth::new(&party, answers.clone(), answered, move |number| Ok(answer(&name, number)));
    let handlers = handlers.clone();
    tokio::spawn(async move {
        let (heard, mut news) = watch::channel((from, false));
        let run = work.run;
        let hear = async {
            let mut next = from;
            while let Some(come) = parts.message().await? {
                handlers.came(&id, &come, next)?;
                let must_wait = party.hears(next);
                next += 1;
                if must_wait {
                    mouth.say_early(next);
                }
                let _ = heard.send((next, false));
                if next.is_multiple_of(NODS) {
                    let nod = [run.to_be_bytes(), next.to_be_bytes()].concat();
                    dialog.send_typed(nod).await?;
                }
            }
            let _ = heard.send((next, true));
            Ok::<_, Status>(())
        };
        let speak = async {
            let turn = dialog.turn();
            loop {
                let speaking = turn.wait().await?;
                let in_turn = party.begin_turn();
                let (mut upto, mut ended) = *news.borrow_and_update();
                if mouth.given().await >= upto && !ended {
                    let _ = timeout(PATIENCE, news.changed()).await;
                    (upto, ended) = *news.borrow_and_update();
                }
                while mouth.given().await < upto {
                    mouth.say().await?;
                }
                if ended {
                    mouth.close().await;
                    return Ok::<_, Status>(());
                }
                drop(in_turn);
                speaking.give();
            }
        };
        match tokio::try_join!(hear, speak) {
            Ok(_) => {
                work.effect();
                work.end(Ending::Answered);
            }
            Err(status) => {
                work.end(Ending::Failed);
                let _ = answers.send(Err(status)).await;
            }
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
}
