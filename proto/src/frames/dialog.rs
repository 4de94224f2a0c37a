//! The primitives of the dialog, message by message.

use bytes::Bytes;
use rpc_core::dialog::{Holding, ResyncKind, Token, TokenSet};
use rpc_core::frame::dialog::{
    Base, Cause, DETAIL_BYTES_MAX, DialogAck, EXPEDITED_BYTES_MAX, Exception, Numbered, Please, Primitive,
    Resync, ResyncAck, TYPED_BYTES_MAX, Wish,
};
use rpc_core::stream::position::{Generation, Position, Serial};

use super::Malformed;
use super::wire::{position_from_wire, position_to_wire, serial_from_wire, state_from_wire};
use crate::pb::session::v1::control_frame::dialog::Primitive as Kind;
use crate::pb::session::v1::control_frame::{self as wire, exception, resync, wish};

/// More than there are tokens.
const HOLDINGS_MAX: usize = 8;

pub(super) fn numbered_to_wire(numbered: &Numbered) -> wire::Dialog {
    let Numbered { number, after, primitive } = numbered;
    let after = (*after != Position::ORIGIN).then(|| position_to_wire(*after));
    wire::Dialog { number: *number, after, primitive: Some(primitive_to_wire(primitive)) }
}

pub(super) fn numbered_from_wire(dialog: wire::Dialog) -> Result<Numbered, Malformed> {
    let wire::Dialog { number, after, primitive } = dialog;
    let primitive = primitive_from_wire(primitive.ok_or(Malformed("DIALOG"))?)?;
    if number == 0 {
        return Err(Malformed("DIALOG"));
    }
    let after = after.map_or(Ok(Position::ORIGIN), |after| position_from_wire(Some(after)))?;
    Ok(Numbered { number, after, primitive })
}

pub(super) fn ack_to_wire(ack: &DialogAck) -> wire::DialogAck {
    let DialogAck { received, typed_taken, expedited_taken, holdings, anew, knows_anew } = ack;
    wire::DialogAck {
        received: *received,
        typed_taken: *typed_taken,
        expedited_taken: *expedited_taken,
        holdings: holdings_to_wire(holdings),
        anew: *anew,
        knows_anew: *knows_anew,
    }
}

pub(super) fn ack_from_wire(ack: wire::DialogAck) -> Result<DialogAck, Malformed> {
    let wire::DialogAck { received, typed_taken, expedited_taken, holdings, anew, knows_anew } = ack;
    let holdings = holdings_from_wire(holdings)?;
    Ok(DialogAck { received, typed_taken, expedited_taken, holdings, anew, knows_anew })
}

fn primitive_to_wire(primitive: &Primitive) -> Kind {
    match primitive {
        Primitive::Give(holdings) => Kind::Give(wire::Give { holdings: holdings_to_wire(holdings) }),
        Primitive::Please(Please { tokens, priority, within_ms }) => Kind::Please(wire::Please {
            tokens: tokens.iter().map(|token| token_to_wire(token).into()).collect(),
            priority: *priority,
            within_ms: *within_ms,
        }),
        Primitive::Typed(bytes) => Kind::Typed(bytes.clone()),
        Primitive::Expedited(bytes) => Kind::Expedited(bytes.clone()),
        Primitive::Exception(Exception { cause, detail }) => {
            Kind::Exception(wire::Exception { cause: cause_to_wire(*cause).into(), detail: detail.clone() })
        }
        Primitive::Resync(Resync { kind, own, other, wishes, state }) => Kind::Resync(wire::Resync {
            kind: resync_kind_to_wire(*kind).into(),
            own: own.map(base_to_wire),
            other: other.map_or(0, |serial| serial.0),
            wishes: wishes.iter().map(|(token, wish)| wish_to_wire(*token, *wish)).collect(),
            state: state.clone(),
        }),
        Primitive::ResyncAck(ResyncAck { own, other, holdings, state }) => Kind::ResyncAck(wire::ResyncAck {
            own: own.map(base_to_wire),
            other: other.map_or(0, |serial| serial.0),
            holdings: holdings_to_wire(holdings),
            state: state.clone(),
        }),
    }
}

fn primitive_from_wire(kind: Kind) -> Result<Primitive, Malformed> {
    Ok(match kind {
        Kind::Give(wire::Give { holdings }) => Primitive::Give(holdings_from_wire(holdings)?),
        Kind::Please(wire::Please { tokens, priority, within_ms }) => {
            let tokens = tokens
                .into_iter()
                .take(HOLDINGS_MAX)
                .map(token_from_wire)
                .collect::<Result<TokenSet, _>>()?;
            Primitive::Please(Please { tokens, priority, within_ms })
        }
        Kind::Typed(bytes) => Primitive::Typed(within(bytes, TYPED_BYTES_MAX, "TYPED")?),
        Kind::Expedited(bytes) => Primitive::Expedited(within(bytes, EXPEDITED_BYTES_MAX, "EXPEDITED")?),
        Kind::Exception(wire::Exception { cause, detail }) if detail.len() <= DETAIL_BYTES_MAX => {
            Primitive::Exception(Exception { cause: cause_from_wire(cause), detail })
        }
        Kind::Exception(_) => return Err(Malformed("EXCEPTION")),
        Kind::Resync(wire::Resync { kind, own, other, wishes, state }) => Primitive::Resync(Resync {
            kind: resync_kind_from_wire(kind)?,
            own: own.map(base_from_wire).transpose()?,
            other: (other != 0).then_some(Serial(other)),
            wishes: wishes.into_iter().take(HOLDINGS_MAX).map(wish_from_wire).collect::<Result<_, _>>()?,
            state: state_from_wire(state)?,
        }),
        Kind::ResyncAck(wire::ResyncAck { own, other, holdings, state }) => Primitive::ResyncAck(ResyncAck {
            own: own.map(base_from_wire).transpose()?,
            other: (other != 0).then_some(Serial(other)),
            holdings: holdings_from_wire(holdings)?,
            state: state_from_wire(state)?,
        }),
    })
}

fn within(bytes: Bytes, bytes_max: usize, what: &'static str) -> Result<Bytes, Malformed> {
    if bytes.len() > bytes_max { Err(Malformed(what)) } else { Ok(bytes) }
}

fn base_to_wire(Base { serial, position, generation }: Base) -> wire::Base {
    wire::Base { serial: serial.0, position: Some(position_to_wire(position)), generation: generation.0 }
}

fn base_from_wire(wire::Base { serial, position, generation }: wire::Base) -> Result<Base, Malformed> {
    Ok(Base {
        serial: serial_from_wire(serial)?,
        position: position_from_wire(position)?,
        generation: Generation(generation),
    })
}

/// Tokens as one side knows them.
pub fn holdings_to_wire(holdings: &[Holding]) -> Vec<wire::Holding> {
    let to_wire = |Holding { token, generation, mine }: &Holding| wire::Holding {
        token: token_to_wire(*token).into(),
        generation: *generation,
        mine: *mine,
    };
    holdings.iter().map(to_wire).collect()
}

/// Tokens as the other side knows them.
///
/// # Errors
///
/// Too many, or one that does not exist, or one twice.
pub fn holdings_from_wire(holdings: Vec<wire::Holding>) -> Result<Vec<Holding>, Malformed> {
    let malformed = Malformed("holdings");
    if holdings.len() > HOLDINGS_MAX {
        return Err(malformed);
    }
    let mut seen = TokenSet::NONE;
    let mut core = Vec::with_capacity(holdings.len());
    for wire::Holding { token, generation, mine } in holdings {
        let token = token_from_wire(token)?;
        if seen.contains(token) {
            return Err(malformed);
        }
        seen = seen.with(token);
        core.push(Holding { token, generation, mine });
    }
    Ok(core)
}

fn wish_to_wire(token: Token, wish: Wish) -> wire::Wish {
    let owner = match wish {
        Wish::Mine => wish::Owner::Mine,
        Wish::Yours => wish::Owner::Yours,
        Wish::Choose => wish::Owner::Unspecified,
    };
    wire::Wish { token: token_to_wire(token).into(), owner: owner.into() }
}

fn wish_from_wire(wire::Wish { token, owner }: wire::Wish) -> Result<(Token, Wish), Malformed> {
    let wish = match wish::Owner::try_from(owner).map_err(|_| Malformed("wish"))? {
        wish::Owner::Mine => Wish::Mine,
        wish::Owner::Yours => Wish::Yours,
        wish::Owner::Unspecified => Wish::Choose,
    };
    Ok((token_from_wire(token)?, wish))
}

/// The number of a token on the wire.
pub fn token_to_wire(token: Token) -> wire::Token {
    match token {
        Token::Data => wire::Token::Data,
        Token::Minor => wire::Token::Minor,
        Token::Major => wire::Token::Major,
        Token::Release => wire::Token::Release,
    }
}

/// The token of a number on the wire.
///
/// # Errors
///
/// There is none.
pub fn token_from_wire(token: i32) -> Result<Token, Malformed> {
    match wire::Token::try_from(token) {
        Ok(wire::Token::Data) => Ok(Token::Data),
        Ok(wire::Token::Minor) => Ok(Token::Minor),
        Ok(wire::Token::Major) => Ok(Token::Major),
        Ok(wire::Token::Release) => Ok(Token::Release),
        Ok(wire::Token::Unspecified) | Err(_) => Err(Malformed("token")),
    }
}

fn cause_to_wire(cause: Cause) -> exception::Cause {
    match cause {
        Cause::Unspecified => exception::Cause::Unspecified,
        Cause::ReceivingJeopardized => exception::Cause::ReceivingJeopardized,
        Cause::Sequence => exception::Cause::Sequence,
        Cause::Local => exception::Cause::Local,
        Cause::Procedure => exception::Cause::Procedure,
        Cause::DemandDataToken => exception::Cause::DemandDataToken,
    }
}

/// A cause of a later version is one that is not specified.
fn cause_from_wire(cause: i32) -> Cause {
    match exception::Cause::try_from(cause).unwrap_or_default() {
        exception::Cause::Unspecified => Cause::Unspecified,
        exception::Cause::ReceivingJeopardized => Cause::ReceivingJeopardized,
        exception::Cause::Sequence => Cause::Sequence,
        exception::Cause::Local => Cause::Local,
        exception::Cause::Procedure => Cause::Procedure,
        exception::Cause::DemandDataToken => Cause::DemandDataToken,
    }
}

fn resync_kind_to_wire(kind: ResyncKind) -> resync::Kind {
    match kind {
        ResyncKind::Restart => resync::Kind::Restart,
        ResyncKind::Set => resync::Kind::Set,
        ResyncKind::Abandon => resync::Kind::Abandon,
    }
}

fn resync_kind_from_wire(kind: i32) -> Result<ResyncKind, Malformed> {
    match resync::Kind::try_from(kind) {
        Ok(resync::Kind::Restart) => Ok(ResyncKind::Restart),
        Ok(resync::Kind::Set) => Ok(ResyncKind::Set),
        Ok(resync::Kind::Abandon) => Ok(ResyncKind::Abandon),
        Ok(resync::Kind::Unspecified) | Err(_) => Err(Malformed("RESYNC")),
    }
}
