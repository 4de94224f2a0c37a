//! How a token is written, and how the header around it is.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;

pub(crate) fn shapes() -> Vec<Shape> {
    all([segments(), spellings(), signatures(), objects(), values()])
}

fn parts() -> [String; 3] {
    let good = good_token();
    good.split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

fn raw_claims(text: &[u8]) -> String {
    Signer::Es(&KEYS.es).sign(good_header().to_string().as_bytes(), text)
}

fn raw_header(text: &[u8]) -> String {
    Signer::Es(&KEYS.es).sign(text, good_claims().to_string().as_bytes())
}

fn segments() -> Vec<Shape> {
    let good = good_token();
    let [header, claims, signature] = parts();
    let nested = raw_claims(format!("\"{good}\"").as_bytes());
    let jwe_header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    vec![
        Shape::of("no dot", "abc"),
        Shape::of("two segments", format!("{header}.{claims}")),
        Shape::of("four segments", format!("{good}.{signature}")),
        Shape::of("a JWE of five segments", format!("{jwe_header}.AAAA.AAAA.AAAA.AAAA")),
        Shape::of("a JWE with the good header", format!("{header}.a.b.c.{signature}")),
        Shape::of("only dots", ".."),
        Shape::of("a dot", "."),
        Shape::of("a dot in front", format!(".{good}")),
        Shape::of("a dot behind", format!("{good}.")),
        Shape::of("no header", format!(".{claims}.{signature}")),
        Shape::of("no claims", format!("{header}..{signature}")),
        Shape::of("detached claims", format!("{header}..")),
        Shape::of("segments in another order", format!("{claims}.{header}.{signature}")),
        Shape::of("the header twice", format!("{header}.{header}.{signature}")),
        Shape::of("nested: claims are a token", nested),
        Shape::of("nested: encoded once more", URL_SAFE_NO_PAD.encode(&good)),
        Shape::of("8 KiB and a byte", "A".repeat(8 * 1024 + 1)),
        Shape::of("12 KiB", format!("{header}.{}.AA", "A".repeat(12 << 10))),
        Shape::of(
            "good but over 8 KiB",
            signed(&good_header(), &with(good_claims(), "note", "x".repeat(8_192))),
        ),
        Shape::of("8 KiB of nothing", "A".repeat(8 * 1024)),
        Shape::of("8 KiB of dots", ".".repeat(8 * 1024)),
    ]
}

fn spellings() -> Vec<Shape> {
    let [header, claims, signature] = parts();
    let bytes = |segment: &str| URL_SAFE_NO_PAD.decode(segment).unwrap();
    let padded = |segment: &str| URL_SAFE.encode(bytes(segment));
    // Bits beyond the last byte: the same token must not have two spellings.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let loose = |segment: &str| {
        let at = alphabet.find(&segment[segment.len() - 1..]).unwrap();
        format!("{}{}", &segment[..segment.len() - 1], &alphabet[at + 1..at + 2])
    };
    // The standard alphabet, where it differs.
    let question = signed(&good_header(), &with(good_claims(), "note", "\u{3fb}\u{3ff}???>>>"));
    let claims_standard = STANDARD.encode(bytes(question.split('.').nth(1).unwrap()));
    let claims_standard = claims_standard.trim_end_matches('=');
    vec![
        Shape::of("padded signature", format!("{header}.{claims}.{}", padded(&signature))),
        Shape::of("padding in the middle", format!("{header}=.{claims}.{signature}")),
        Shape::of("padding behind", format!("{header}.{claims}.{signature}=")),
        Shape::of("padding of three", format!("{header}.{claims}.{signature}===")),
        Shape::of("standard alphabet in the signature", format!("{header}.{claims}.+/{}", &signature[2..])),
        Shape::of("standard alphabet in the claims", format!("{header}.{claims_standard}.{signature}")),
        Shape::of("loose bits in the signature", format!("{header}.{claims}.{}", loose(&signature))),
        Shape::of("a tilde", format!("{header}.{claims}.~{}", &signature[1..])),
        Shape::of("one letter for a signature", format!("{header}.{claims}.A")),
        Shape::of("a percent", format!("{header}%2e{claims}%2e{signature}")),
        Shape::of("truncated header", format!("{}.{claims}.{signature}", &header[..header.len() - 4])),
        Shape::of("truncated claims", format!("{header}.{}.{signature}", &claims[..claims.len() - 4])),
        Shape::of("truncated signature", format!("{header}.{claims}.{}", &signature[..signature.len() - 6])),
        Shape::of("longer signature", format!("{header}.{claims}.{signature}AAAA")),
        Shape::of("not base64 at all", "!!!.???.***"),
    ]
}

fn signatures() -> Vec<Shape> {
    let [header, claims, signature] = parts();
    let bytes = URL_SAFE_NO_PAD.decode(&signature).unwrap();
    let token = |signature: &[u8]| format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature));
    let flipped = |at: usize| {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        token(&flipped)
    };
    let another = signed(&good_header(), &with(good_claims(), "sub", "bob"));
    let another = another.rsplit_once('.').unwrap().1;
    // SEQUENCE of two INTEGERs, as X.509 has signatures and JWS has not.
    let mut der = vec![0x30, 0x44, 0x02, 0x20];
    der.extend_from_slice(&bytes[..32]);
    der.extend_from_slice(&[0x02, 0x20]);
    der.extend_from_slice(&bytes[32..]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut shapes = vec![
        Shape::of("first bit of the signature", flipped(0)),
        Shape::of("last bit of the signature", flipped(63)),
        Shape::of("signature of another token", format!("{header}.{claims}.{another}")),
        Shape::of("r and s in the other order", token(&[&bytes[32..], &bytes[..32]].concat())),
        Shape::of("signature in DER", token(&der)),
        Shape::of("signature in hex", format!("{header}.{claims}.{hex}")),
        Shape::of("signature of the claims alone", {
            format!("{header}.{claims}.{}", Signer::Es(&KEYS.es).signature(&claims))
        }),
    ];
    // "Psychic signatures" (CVE-2022-21449): r = s = 0 verified everything in one library.
    for length in [0, 1, 63, 64, 65, 72, 256] {
        shapes.push(Shape::of(format!("{length} zeros for a signature"), token(&vec![0; length])));
    }
    shapes
}

fn objects() -> Vec<Shape> {
    let text = good_claims().to_string();
    let twice = |name: &str, value: &str| {
        raw_claims(format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]).as_bytes())
    };
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(900), close.repeat(900));
    vec![
        Shape::of("sub twice", twice("sub", "\"mallory\"")),
        Shape::of("aud twice", twice("aud", "\"ledger\"")),
        Shape::of("exp twice", twice("exp", "1900000000")),
        Shape::of("the same sub twice", twice("sub", "\"alice\"")),
        Shape::of("sub twice, once escaped", twice("s\\u0075b", "\"mallory\"")),
        Shape::of("alg twice", raw_header(br#"{"typ":"JWT","alg":"none","alg":"ES256","kid":"es"}"#)),
        Shape::of("kid twice", raw_header(br#"{"typ":"JWT","alg":"ES256","kid":"ed","kid":"es"}"#)),
        Shape::of(
            "alg twice, once escaped",
            raw_header(br#"{"typ":"JWT","alg":"ES256","\u0061lg":"none","kid":"es"}"#),
        ),
        Shape::of("header is a list", raw_header(b"[]")),
        Shape::of("header is text", raw_header(b"\"ES256\"")),
        Shape::of("header is empty", raw_header(b"{}")),
        Shape::of("header is nothing", raw_header(b"")),
        Shape::of("header is no JSON", raw_header(b"alg=ES256")),
        Shape::of("claims are a list", raw_claims(b"[{}]")),
        Shape::of("claims are null", raw_claims(b"null")),
        Shape::of("claims are empty", raw_claims(b"{}")),
        Shape::of("claims are nothing", raw_claims(b"")),
        Shape::of("claims end early", raw_claims(&text.as_bytes()[..text.len() - 1])),
        Shape::of("more after the claims", raw_claims(format!("{text} {{}}").as_bytes())),
        Shape::of("a comma too many", raw_claims(format!("{},}}", &text[..text.len() - 1]).as_bytes())),
        Shape::of("a comment", raw_claims(format!("{text}/**/").as_bytes())),
        Shape::of("single quotes", raw_claims(text.replace('"', "'").as_bytes())),
        Shape::of("a byte order mark", raw_claims(format!("\u{feff}{text}").as_bytes())),
        Shape::of("not UTF-8", raw_claims(b"{\"iss\":\"\xff\xfe\"}")),
        Shape::of("UTF-16", raw_claims(&text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())),
        Shape::of("half a surrogate", raw_claims(br#"{"iss":"\ud800"}"#)),
        Shape::of("a NUL behind", raw_claims(format!("{text}\0").as_bytes())),
        Shape::of("900 lists deep", raw_claims(format!("{{\"a\":{}}}", nested("[", "]")).as_bytes())),
        Shape::of("900 objects deep", raw_claims(nested("{\"a\":", "}").as_bytes())),
        Shape::of(
            "a header 900 lists deep",
            raw_header(format!("{{\"a\":{}}}", nested("[", "]")).as_bytes()),
        ),
    ]
}

/// Values of the header `authorization`.
fn values() -> Vec<Shape> {
    let good = good_token();
    let bearer = format!("Bearer {good}");
    let said = |name: &str, value: String| Shape::said(name, &[value.as_bytes()]);
    let [header, claims, signature] = parts();
    let flattened = json!({ "protected": header, "payload": claims, "signature": signature });
    let signature = json!({ "protected": header, "signature": signature });
    let general = json!({ "payload": claims, "signatures": [signature] });
    vec![
        said("an empty value", String::new()),
        said("a scheme alone", "Bearer".into()),
        said("a scheme and a space", "Bearer ".into()),
        said("a token alone", good.clone()),
        said("no space", format!("Bearer{good}")),
        said("two spaces", format!("Bearer  {good}")),
        said("a tab", format!("Bearer\t{good}")),
        said("a space in front", format!(" Bearer {good}")),
        said("a space behind", format!("Bearer {good} ")),
        said("two words", format!("Bearer {good} x")),
        said("a colon", format!("Bearer: {good}")),
        said("an equals sign", format!("Bearer token={good}")),
        said("quoted", format!("Bearer \"{good}\"")),
        said("in angle brackets", format!("Bearer <{good}>")),
        said("joined by a comma", format!("Bearer {good}, Bearer {good}")),
        said("joined by a comma without a space", format!("Bearer {good},{good}")),
        said("a semicolon behind", format!("Bearer {good};")),
        said("Bearer twice", format!("Bearer Bearer {good}")),
        said("Basic", "Basic YWxpY2U6c2VjcmV0".into()),
        said("Basic with the token", format!("Basic {good}")),
        said("DPoP", format!("DPoP {good}")),
        said("JWT for a scheme", format!("JWT {good}")),
        said("Token for a scheme", format!("Token {good}")),
        said("Negotiate", "Negotiate YIIB".into()),
        said("a scheme of another alphabet", format!("B\u{435}arer {good}")),
        said("undefined", "Bearer undefined".into()),
        said("null", "Bearer null".into()),
        said("only padding", "Bearer ====".into()),
        said("the general JSON form", format!("Bearer {general}")),
        said("the flattened JSON form", format!("Bearer {flattened}")),
        Shape::said("bytes that are no text", &[b"Bearer \xff\xfe\xfd"]),
        Shape::said("the same header twice", &[bearer.as_bytes(), bearer.as_bytes()]),
        Shape::said("Bearer and Basic", &[bearer.as_bytes(), b"Basic YTpi"]),
        Shape::said("Basic and Bearer", &[b"Basic YTpi", bearer.as_bytes()]),
        Shape::said("an empty one and Bearer", &[b"", bearer.as_bytes()]),
        Shape { name: "no header at all".into(), values: Vec::new(), reason: Reason::TokenMissing },
    ]
}
