//! What `walkie_talkie` shows without arguments: turns, a connection that is cut in the middle of a sentence, and somebody
//! who interrupts.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::channel::{call, listen};
use super::radio::{Loudspeaker, Radio, Urgency};
use crate::relay::{Relay, Scissors};
use crate::transfer::bar::say;
use crate::transfer::failure::Failure;

/// Longest time for anything that should be quick.
const SOON: Duration = Duration::from_secs(20);
/// The last sentence is longer than anybody wants to hear.
const REPORT: &str = "base this is rover I will now report in full";

/// Runs the demonstration.
///
/// # Errors
///
/// It did not show what it promises.
pub(super) async fn run() -> Result<(), Failure> {
    let scissors = Scissors::new();
    let (server, mut calls) = listen("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr(), server.handle());
    let relay = Relay::bind(address, &scissors).await.map_err(failed)?;
    let uri = format!("http://{}", relay.address().map_err(failed)?);
    let relay = tokio::spawn(relay.run());
    let serving = tokio::spawn(server.serve());

    let (session, rover, mut at_rover) = call(&uri, "rover").await?;
    let (base, mut at_base) =
        timeout(SOON, calls.recv()).await.ok().flatten().ok_or_else(|| failed("no call"))?;
    let talk = async {
        // The caller has the first turn.
        speak(&rover, "base this is rover I have found water", &mut at_base, "base", |_| ()).await?;
        speak(&base, "rover this is base how much of it", &mut at_rover, "rover", |_| ()).await?;
        let told = "a whole lake of it and it is as deep as I can see";
        let cut = |words| {
            if words == 5 {
                scissors.cut();
            }
        };
        speak(&rover, told, &mut at_base, "base", cut).await?;
        say(format!("network   cut {} time in the middle of that", scissors.cuts()));
        interrupt(&rover, &base, &mut at_base, &mut at_rover).await
    };
    tokio::select! {
        talked = talk => talked?,
        Err(status) = rover.attend() => return Err(failed(status.message())),
        Err(status) = base.attend() => return Err(failed(status.message())),
        () = tokio::time::sleep(SOON) => return Err(failed("somebody waits for a turn that does not come")),
    }

    // Whoever has called hangs up.
    drop(rover);
    let off_base = at_base.hear().await.map_err(said)?;
    drop(base);
    let off_rover = at_rover.hear().await.map_err(said)?;
    session.release().await.map_err(failed)?;
    handle.drain(SOON);
    serving.await.map_err(failed)?.map_err(failed)?;
    relay.abort();
    match (off_base, off_rover, scissors.cuts()) {
        (None, None, 1) => {
            say("success: one spoke at a time, and no word was lost");
            Ok(())
        }
        wrong => Err(Failure::new(format!("heard after the end, cuts: {wrong:?}"))),
    }
}

/// One side says a sentence, and the other hears all of it.
async fn speak(
    radio: &Radio,
    sentence: &str,
    loudspeaker: &mut Loudspeaker,
    listener: &str,
    heard: impl FnMut(usize),
) -> Result<(), Failure> {
    let (said_all, heard) =
        tokio::join!(radio.say(sentence, Urgency::Ordinary), loudspeaker.hear_words(heard));
    let heard = heard.map_err(said)?;
    say(format!("{listener:<10}hears: {}", heard.as_deref().unwrap_or("nothing")));
    let whole = said_all.map_err(said)? && heard.as_deref() == Some(sentence);
    if whole { Ok(()) } else { Err(failed("not what was said")) }
}

/// The rover does not come to an end; the base has something urgent.
async fn interrupt(
    rover: &Radio,
    base: &Radio,
    at_base: &mut Loudspeaker,
    at_rover: &mut Loudspeaker,
) -> Result<(), Failure> {
    let report = format!("{REPORT} {}", "and so on ".repeat(500));
    let begun = Notify::new();
    let warning = "rover this is base there is a storm behind you";
    let emergency = async {
        begun.notified().await;
        base.say(warning, Urgency::Emergency).await
    };
    let heard = async { tokio::join!(at_base.hear_words(|_| begun.notify_one()), at_rover.hear()) };
    let (finished, warned, (report, heard)) =
        tokio::join!(rover.say(&report, Urgency::Ordinary), emergency, heard);
    let (finished, warned) = (finished.map_err(said)?, warned.map_err(said)?);
    let (report, heard) =
        (report.map_err(said)?.unwrap_or_default(), heard.map_err(said)?.unwrap_or_default());
    if finished || !warned || heard != warning || !report.starts_with("base") {
        return Err(failed(format!("the rover went on, or did not hear: {heard}")));
    }
    say("base      hears: base this is ... (interrupted)");
    say(format!("rover     hears: {heard}"));
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}

fn said(status: tonic::Status) -> Failure {
    Failure::new(status.message())
}
