//! What `call_setup` shows without arguments: a call over a line that is cut, one that is refused, one that finds the other
//! busy, one to nobody, and two that cross.

use std::time::Duration;

use tokio::time::timeout;

use super::command::bind;
use super::phone::{Heard, Phone};
use crate::phone::signal::Kind;
use crate::relay::{Relay, Scissors};
use crate::transfer::bar::say;
use crate::transfer::failure::Failure;

/// Longest time for anything that should be quick.
const SOON: Duration = Duration::from_secs(20);

/// Runs the demonstration.
///
/// # Errors
///
/// It did not show what it promises.
pub(super) async fn run() -> Result<(), Failure> {
    let scissors = Scissors::new();
    let server = bind("127.0.0.1:0").await?;
    let (address, handle) = (server.local_addr(), server.handle());
    let relay = Relay::bind(address, &scissors).await.map_err(failed)?;
    let cut_off = format!("http://{}", relay.address().map_err(failed)?);
    let direct = format!("http://{address}");
    let relay = tokio::spawn(relay.run());
    let serving = tokio::spawn(server.serve());

    let mut alice = Subscriber::connect(&cut_off, "alice").await?;
    let mut bob = Subscriber::connect(&direct, "bob").await?;
    let mut carol = Subscriber::connect(&direct, "carol").await?;

    set_up(&mut alice, &mut bob).await?;
    alice.talks("hello bob").await?;
    bob.hears(Heard::Voice("hello bob".into())).await?;
    scissors.cut();
    say("network   cut: alice's connection is gone, her call is not");
    // Both at a time.
    let (one, other) = tokio::join!(alice.talks("can you hear me"), bob.talks("loud and clear"));
    one.and(other)?;
    bob.hears(Heard::Voice("can you hear me".into())).await?;
    alice.hears(Heard::Voice("loud and clear".into())).await?;

    carol.does(Kind::Call, "bob").await?;
    carol.hears(signal(Kind::Busy, "bob")).await?;
    carol.does(Kind::Call, "dave").await?;
    carol.hears(signal(Kind::UnknownParty, "dave")).await?;

    bob.does(Kind::HungUp, "").await?;
    alice.hears(signal(Kind::HungUp, "bob")).await?;

    alice.does(Kind::Call, "carol").await?;
    carol.hears(signal(Kind::Call, "alice")).await?;
    alice.hears(signal(Kind::Ringing, "carol")).await?;
    carol.does(Kind::Refused, "").await?;
    alice.hears(signal(Kind::Refused, "carol")).await?;

    cross(&mut alice, &mut bob).await?;

    for subscriber in [alice, bob, carol] {
        subscriber.phone.close().await?;
    }
    handle.drain(SOON);
    serving.await.map_err(failed)?.map_err(failed)?;
    relay.abort();
    say("success: each call went as it should");
    Ok(())
}

/// Ring, answer.
async fn set_up(caller: &mut Subscriber, called: &mut Subscriber) -> Result<(), Failure> {
    caller.does(Kind::Call, called.name).await?;
    called.hears(signal(Kind::Call, caller.name)).await?;
    caller.hears(signal(Kind::Ringing, called.name)).await?;
    called.does(Kind::Answered, "").await?;
    caller.hears(signal(Kind::Answered, called.name)).await?;
    called.hears(signal(Kind::Answered, caller.name)).await
}

/// Both dial at the same time; whoever is first, they talk. On the way one of them may hear the other's call.
async fn cross(one: &mut Subscriber, other: &mut Subscriber) -> Result<(), Failure> {
    let (dialled, dialled_too) =
        tokio::join!(one.does(Kind::Call, other.name), other.does(Kind::Call, one.name));
    dialled.and(dialled_too)?;
    let (caller, called) = (one.name, other.name);
    for (subscriber, party) in [(&mut *one, called), (&mut *other, caller)] {
        loop {
            match subscriber.next().await? {
                Heard::Signal(Kind::Answered, who) if who == party => break,
                Heard::Signal(Kind::Call | Kind::Ringing, who) if who == party => {}
                heard => return Err(failed(format!("{} heard {heard:?}", subscriber.name))),
            }
        }
    }
    say(format!("{:<10}and {} called each other, and talk", one.name, other.name));
    one.talks("I was about to call you").await?;
    other.hears(Heard::Voice("I was about to call you".into())).await?;
    other.does(Kind::HungUp, "").await?;
    one.hears(signal(Kind::HungUp, other.name)).await
}

/// A person with a telephone.
struct Subscriber {
    name: &'static str,
    phone: Phone,
}

impl Subscriber {
    async fn connect(uri: &str, name: &'static str) -> Result<Self, Failure> {
        Ok(Self { name, phone: Phone::connect(uri, name).await? })
    }

    async fn does(&self, kind: Kind, party: &str) -> Result<(), Failure> {
        let does = match kind {
            Kind::Call => format!("calls {party}"),
            Kind::Answered => "answers".to_owned(),
            Kind::Refused => "does not want to talk".to_owned(),
            _ => "hangs up".to_owned(),
        };
        say(format!("{:<10}{does}", self.name));
        self.phone.signal(kind, party).await.map_err(|status| failed(status.message()))
    }

    async fn talks(&self, words: &str) -> Result<(), Failure> {
        self.phone.talk(words).await.map_err(|status| failed(status.message()))
    }

    async fn hears(&mut self, expected: Heard) -> Result<(), Failure> {
        let heard = self.next().await?;
        let told = match &heard {
            Heard::Voice(words) => format!("hears: {words}"),
            Heard::Signal(Kind::Call, party) => format!("hears it ring: {party} calls"),
            Heard::Signal(Kind::Ringing, party) => format!("hears it ring at {party}'s"),
            Heard::Signal(Kind::Answered, party) => format!("talks with {party}"),
            Heard::Signal(Kind::Busy, party) => format!("hears that {party} is busy"),
            Heard::Signal(Kind::UnknownParty, party) => format!("hears that there is no {party}"),
            Heard::Signal(Kind::Refused, party) => format!("hears that {party} does not answer"),
            Heard::Signal(Kind::HungUp, party) => format!("hears that {party} has hung up"),
            Heard::Signal(Kind::Unspecified, _) => "hears noise".to_owned(),
        };
        say(format!("{:<10}{told}", self.name));
        if heard == expected { Ok(()) } else { Err(failed(format!("not {expected:?}"))) }
    }

    async fn next(&mut self) -> Result<Heard, Failure> {
        let heard = timeout(SOON, self.phone.hear())
            .await
            .map_err(|_| failed(format!("{} hears nothing", self.name)))?;
        let heard = heard.map_err(|status| failed(status.message()))?;
        heard.ok_or_else(|| failed(format!("the line of {} is closed", self.name)))
    }
}

fn signal(kind: Kind, party: &str) -> Heard {
    Heard::Signal(kind, party.to_owned())
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
