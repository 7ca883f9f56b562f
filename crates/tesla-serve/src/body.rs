//! Bodies: read up to a limit, unpacked up to the same limit, packed for clients that like it.

use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::aside::{LONG, elsewhere};
use crate::error::Failure;

/// Answers of fewer bytes are not worth packing.
const WORTH_PACKING: usize = 1024;

/// Bodies of the largest size for which there is room at a time.
const BODIES: usize = 16;
/// Bytes of a body that take no room.
const FREE: usize = 1 << 16;

/// Packed bytes up to which a body is unpacked at once: waking a thread would take as long.
pub(crate) const QUICK: usize = 1024;
/// Bytes that are unpacked before there must be room for them.
const CHUNK: usize = 1 << 16;

/// Bytes of a body that are read after the answer though nobody wants them, at most.
const LINGER: u64 = 1 << 18;
/// How long they may take.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// A body as it comes from a connection. When a request is refused before its body was read, what is
/// left is read nevertheless, beside the answer: a connection that is closed while its client still
/// sends takes the answer with it.
pub(crate) struct Lingering(Option<Incoming>);

impl Lingering {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl hyper::body::Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let is_left = |body: &Incoming| !body.is_end_stream() && body.size_hint().lower() <= LINGER;
        let (Some(mut body), Ok(runtime)) =
            (self.0.take().filter(is_left), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let read = async move {
            let mut room = LINGER;
            while let Some(Ok(frame)) =
                std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
            {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                match room.checked_sub(bytes) {
                    Some(left) => room = left,
                    None => break,
                }
            }
        };
        runtime.spawn(tokio::time::timeout(LINGER_TIME, read));
    }
}

/// Bytes of bodies that may be here or on their way at a time; the first of each are free, so that
/// small ones come through beside any number of large ones.
#[derive(Clone)]
pub(crate) struct Room(Arc<Semaphore>);

/// Bytes of a body for which there is room as long as this is held.
pub(crate) type Held = Option<OwnedSemaphorePermit>;

impl Room {
    /// Room for some bodies of the largest size that one may have.
    pub(crate) fn new(limit: usize) -> Self {
        let bytes = limit.saturating_mul(BODIES).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Takes room for a body that has `size` bytes now; `None` when there is no more.
    fn hold(&self, held: &mut Held, size: usize) -> Option<()> {
        let before = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = size.saturating_sub(FREE).saturating_sub(before);
        if more > 0 {
            let permit = self
                .0
                .clone()
                .try_acquire_many_owned(u32::try_from(more).ok()?)
                .ok()?;
            match held {
                Some(held) => held.merge(permit),
                None => *held = Some(permit),
            }
        }
        Some(())
    }
}

/// Whether a body is said to take room, and may still be refused before it is read: what is left of a larger one
/// is not read beside the answer.
pub(crate) fn is_large(body: &Body, limit: usize) -> bool {
    let said = hyper::body::Body::size_hint(body).lower();
    (FREE as u64 + 1..=LINGER.min(limit as u64)).contains(&said)
}

/// All bytes of a body as it comes, and the room they take.
///
/// # Errors
/// When there are more than `limit`, or there is no room; `busy` is what to say then.
pub(crate) async fn collect(
    body: Body,
    headers: &HeaderMap,
    limit: usize,
    room: &Room,
    busy: impl Fn() -> Failure,
) -> Result<(Bytes, Held), Failure> {
    let said = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if said.is_some_and(|length: u64| length > limit as u64) {
        return Err(too_large(limit));
    }
    let mut body = std::pin::pin!(body);
    let mut held = None;
    let mut first = Bytes::new();
    let mut all: Vec<u8> = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::as_mut(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Failure::bad_request("the body ended early"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let size = first.len() + all.len() + data.len();
        if size > limit {
            return Err(too_large(limit));
        }
        room.hold(&mut held, size).ok_or_else(&busy)?;
        // Nearly always there is one piece, which is not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok((if all.is_empty() { first } else { all.into() }, held))
}

/// What bounds a body that is unpacked.
pub(crate) struct Bounds {
    /// Bytes that it may have then.
    pub(crate) limit: usize,
    /// Where they take room, as the packed ones did.
    pub(crate) room: Room,
    /// What to say when there is none.
    pub(crate) busy: Failure,
}

/// A body as it was before its client packed it, and the room it takes now.
///
/// # Errors
/// When there are more bytes than there may be then, or no room for them, or the packing is broken or
/// unknown.
pub(crate) async fn unpack(
    packed: Bytes,
    held: Held,
    headers: &HeaderMap,
    bounds: impl FnOnce() -> Bounds,
) -> Result<(Bytes, Held), Failure> {
    let packing = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes());
    let is_gzip = match packing {
        None | Some(b"identity" | b"") => return Ok((packed, held)),
        Some(b"gzip" | b"x-gzip") => true,
        Some(b"deflate") => false,
        Some(_) => {
            return Err(Failure::unsupported(
                "the body is packed in a way this server does not read: expected `gzip`, `deflate` or none",
            ));
        }
    };
    let bounds = bounds();
    let is_long = packed.len() > QUICK;
    let unpack = move || match is_gzip {
        true => unpack_gzip(&packed, &bounds),
        false => read(ZlibDecoder::new(&packed[..]), &bounds),
    };
    let (bytes, held) = elsewhere(is_long, unpack).await??;
    Ok((bytes.into(), held))
}

fn too_large(limit: usize) -> Failure {
    Failure::too_large(format!("the body has more than {limit} bytes, unpacked or not"))
}

/// # Errors
/// When there are more bytes in it than there may be, or no room for them, or it is not gzip.
pub(crate) fn unpack_gzip(packed: &[u8], bounds: &Bounds) -> Result<(Vec<u8>, Held), Failure> {
    read(MultiGzDecoder::new(packed), bounds)
}

/// Takes room as it reads: few bytes may become very many.
fn read(mut reader: impl Read, bounds: &Bounds) -> Result<(Vec<u8>, Held), Failure> {
    let (mut bytes, mut held) = (Vec::new(), None);
    loop {
        let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut bytes);
        let read =
            read.map_err(|_| Failure::bad_request("the body is not packed as its header says"))?;
        if bytes.len() > bounds.limit {
            return Err(too_large(bounds.limit));
        }
        if read == 0 {
            return Ok((bytes, held));
        }
        let is_room = bounds.room.hold(&mut held, bytes.len());
        is_room.ok_or_else(|| bounds.busy.clone())?;
    }
}

/// Packs an answer of a known size, where the client says that it can unpack it.
pub(crate) async fn pack(response: Response, accepted: Option<HeaderValue>) -> Response {
    let accepted = accepted
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let accepts = |name: &str| {
        accepted.split(',').any(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let is_zero = |q: &str| matches!(q, "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
            parts.next() == Some(name) && !parts.any(is_zero)
        })
    };
    let name = match (accepts("gzip"), accepts("deflate")) {
        (true, _) => "gzip",
        (_, true) => "deflate",
        _ => return response,
    };
    let size = response.body().size_hint().exact().unwrap_or(0);
    if size < WORTH_PACKING as u64 || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let plain = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(plain) => plain,
        Err(error) => return Failure::internal(error).into_response(),
    };
    let pack = move || match name {
        "gzip" => {
            let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
            writer.write_all(&plain).and_then(|()| writer.finish())
        }
        _ => {
            let mut writer = ZlibEncoder::new(Vec::new(), Compression::fast());
            writer.write_all(&plain).and_then(|()| writer.finish())
        }
    };
    let packed = match elsewhere(size > LONG as u64, pack).await {
        Ok(Ok(packed)) => packed,
        Ok(Err(error)) => return Failure::internal(error).into_response(),
        Err(failure) => return failure.into_response(),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    parts
        .headers
        .insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(parts, Body::from(packed))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn read_now(packed: Vec<u8>, packing: &str, limit: usize) -> Result<Bytes, Failure> {
        let packing = HeaderValue::from_str(packing).unwrap();
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, packing)]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let room = Room::new(limit);
        runtime.block_on(async {
            let busy = || Failure::busy("no room", 1.0);
            let (packed, held) = collect(packed.into(), &headers, limit, &room, busy).await?;
            let bounds = || Bounds {
                limit,
                room: room.clone(),
                busy: busy(),
            };
            let (bytes, _) = unpack(packed, held, &headers, bounds).await?;
            Ok(bytes)
        })
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzEncoder::new(Vec::new(), Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_unpacked_is_bounded_too() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 1 << 14);
        let refused = read_now(bomb, "gzip", 1 << 16).unwrap_err();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
        let rows = [b'r'; 101];
        assert_eq!(read_now(gzip(&rows[1..]), "gzip", 100).unwrap(), &rows[1..]);
        assert_eq!(read_now(gzip(&rows), "gzip", 100).unwrap_err().status.as_u16(), 413);
        assert_eq!(read_now(vec![1, 2, 3], "gzip", 10).unwrap_err().status.as_u16(), 400);
        assert_eq!(read_now(vec![1, 2, 3], "br", 10).unwrap_err().status.as_u16(), 415);
        assert_eq!(read_now(vec![1; 5], "identity", 4).unwrap_err().status.as_u16(), 413);
    }

    #[test]
    fn what_is_unpacked_takes_room_as_it_grows() {
        let bounds = Bounds {
            limit: 1 << 20,
            room: Room(Arc::new(Semaphore::new(1 << 20))),
            busy: Failure::busy("no room", 1.0),
        };
        let packed = gzip(&vec![0; 1 << 20]);
        assert!(packed.len() < FREE);
        let (bytes, held) = unpack_gzip(&packed, &bounds).unwrap();
        assert_eq!(bytes.len(), 1 << 20);
        assert_eq!(bounds.room.0.available_permits(), FREE);
        let refused = unpack_gzip(&packed, &bounds).unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        // What was refused has given its room back.
        assert_eq!(bounds.room.0.available_permits(), FREE);
        unpack_gzip(&gzip(&vec![0; FREE]), &bounds).unwrap();
        drop(held);
        assert!(unpack_gzip(&packed, &bounds).is_ok());
    }

    #[test]
    fn large_bodies_wait_for_room_and_small_ones_do_not() {
        let room = Room(Arc::new(Semaphore::new(100)));
        let (mut large, mut other) = (None, None);
        room.hold(&mut large, FREE + 40).unwrap();
        room.hold(&mut large, FREE + 60).unwrap();
        assert_eq!(room.0.available_permits(), 40);
        assert!(room.hold(&mut other, FREE + 41).is_none());
        room.hold(&mut other, FREE).unwrap();
        drop(large);
        room.hold(&mut other, FREE + 100).unwrap();
    }
}
