//! One TCP connection, plain or TLS, in two halves, and the queue in front of its writing half.
//!
//! Start at [`connect`] and [`accept`]; everything is sent through an [`Outbox`].
//! Invariant: one send to the kernel per parcel (or per piece, where a parcel asks to be split), so that who
//! reads the other end sees the shapes that were asked for.

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable,
};
use monoio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

type Tls = Rc<RefCell<Connection>>;

/// What a read asks the kernel for at most.
const READ_BYTES: usize = 64 << 10;
const READ_BYTES_IDLE: usize = 2 << 10;

/// How long what is queued may take to leave after its session ended.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) read: ReadHalf,
    pub(crate) write: WriteHalf,
}

#[derive(Debug)]
pub(crate) struct ReadHalf {
    raw: OwnedReadHalf<TcpStream>,
    tls: Option<Tls>,
    cipher: Vec<u8>,
    /// Deciphered, and not yet asked for.
    plain: Vec<u8>,
    /// What the next read asks for: little until the peer sends much, so that idle sessions cost little.
    read_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct WriteHalf {
    raw: OwnedWriteHalf<TcpStream>,
    tls: Option<Tls>,
    fd: RawFd,
}

pub(crate) async fn connect(
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
) -> io::Result<Link> {
    let stream = TcpStream::connect_addr(address).await?;
    let tls = match tls {
        Some((config, name)) => {
            Some(Connection::from(ClientConnection::new(config, name).map_err(io::Error::other)?))
        }
        None => None,
    };
    Link::over(stream, tls).await
}

pub(crate) async fn accept(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Link> {
    let tls = match tls {
        Some(config) => Some(Connection::from(ServerConnection::new(config).map_err(io::Error::other)?)),
        None => None,
    };
    Link::over(stream, tls).await
}

impl Link {
    async fn over(stream: TcpStream, tls: Option<Connection>) -> io::Result<Link> {
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        let (read, write) = stream.into_split();
        let tls = tls.map(|mut connection| {
            connection.set_buffer_limit(None);
            Rc::new(RefCell::new(connection))
        });
        let mut link = Link {
            read: ReadHalf {
                raw: read,
                tls: tls.clone(),
                cipher: Vec::new(),
                plain: Vec::new(),
                read_bytes: READ_BYTES_IDLE,
            },
            write: WriteHalf { raw: write, tls, fd },
        };
        link.handshake().await?;
        Ok(link)
    }

    async fn handshake(&mut self) -> io::Result<()> {
        let Some(tls) = self.read.tls.clone() else { return Ok(()) };
        loop {
            self.write.flush_tls().await?;
            if !tls.borrow().is_handshaking() {
                return Ok(());
            }
            if self.read.receive(&tls).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl ReadHalf {
    /// Appends what comes next to `into`; `Ok(0)` is the end of the stream.
    pub(crate) async fn read(&mut self, into: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self.tls.clone() {
            None => {
                let (result, into) = append(&mut self.raw, into, self.read_bytes).await;
                if matches!(result, Ok(n) if n >= self.read_bytes) {
                    self.read_bytes = READ_BYTES;
                }
                (result, into)
            }
            Some(tls) => {
                let mut into = into;
                let result = self.decrypted(&tls).await;
                into.append(&mut self.plain);
                (result, into)
            }
        }
    }

    /// Waits until there is plain text, and says how much; 0 at the end of the stream.
    async fn decrypted(&mut self, tls: &Tls) -> io::Result<usize> {
        while self.plain.is_empty() {
            if self.receive(tls).await? == 0 {
                break;
            }
        }
        Ok(self.plain.len())
    }

    /// One read of cipher text, deciphered.
    async fn receive(&mut self, tls: &Tls) -> io::Result<usize> {
        let (result, cipher) = append(&mut self.raw, std::mem::take(&mut self.cipher), READ_BYTES).await;
        self.cipher = cipher;
        let n = result?;
        let mut tls = tls.borrow_mut();
        let mut rest = &self.cipher[..];
        while !rest.is_empty() {
            tls.read_tls(&mut rest)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            // Taken out at once: the connection refuses more cipher text while much plain text waits in it.
            drain(&mut tls, &mut self.plain)?;
        }
        self.cipher.clear();
        Ok(n)
    }
}

/// Takes all plain text that is ready.
fn drain(tls: &mut Connection, into: &mut Vec<u8>) -> io::Result<()> {
    match tls.reader().read_to_end(into) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

async fn append(
    raw: &mut OwnedReadHalf<TcpStream>,
    mut into: Vec<u8>,
    bytes: usize,
) -> (io::Result<usize>, Vec<u8>) {
    into.reserve(bytes);
    let range = into.len()..into.capacity();
    let (result, slice) = raw.read(into.slice_mut(range)).await;
    (result, slice.into_inner())
}

/// Into any buffer.
impl AsyncReadRent for ReadHalf {
    async fn read<T: IoBufMut>(&mut self, into: T) -> BufResult<usize, T> {
        let Some(tls) = self.tls.clone() else { return self.raw.read(into).await };
        if let Err(error) = self.decrypted(&tls).await {
            return (Err(error), into);
        }
        let (result, into) = AsyncReadRent::read(&mut &self.plain[..], into).await;
        self.plain.drain(..*result.as_ref().unwrap_or(&0));
        (result, into)
    }

    async fn readv<T: IoVecBufMut>(&mut self, into: T) -> BufResult<usize, T> {
        (Err(io::ErrorKind::Unsupported.into()), into)
    }
}

/// From any buffer.
impl AsyncWriteRent for WriteHalf {
    async fn write<T: IoBuf>(&mut self, bytes: T) -> BufResult<usize, T> {
        let Some(tls) = self.tls.clone() else { return self.raw.write(bytes).await };
        let written = tls.borrow_mut().writer().write(as_slice(&bytes));
        match self.flush_tls().await {
            Ok(()) => (written, bytes),
            Err(error) => (Err(error), bytes),
        }
    }

    async fn writev<T: IoVecBuf>(&mut self, bytes: T) -> BufResult<usize, T> {
        (Err(io::ErrorKind::Unsupported.into()), bytes)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        shut_down(self.fd, libc::SHUT_WR);
        Ok(())
    }
}

#[allow(unsafe_code, reason = "monoio tells a buffer's bytes by pointer and length alone")]
fn as_slice<T: IoBuf>(bytes: &T) -> &[u8] {
    // SAFETY: a buffer's first `bytes_init` bytes from `read_ptr` are initialised, and stay while it is borrowed.
    unsafe { std::slice::from_raw_parts(bytes.read_ptr(), bytes.bytes_init()) }
}

impl WriteHalf {
    async fn send(&mut self, bytes: Bytes, split_bytes: usize) -> io::Result<()> {
        let length = bytes.as_slice().len();
        let piece = if split_bytes == 0 { length.max(1) } else { split_bytes };
        let mut bytes = bytes;
        let mut start = 0;
        while start < length {
            let end = (start + piece).min(length);
            bytes = self.send_piece(bytes, start, end).await?;
            start = end;
        }
        Ok(())
    }

    async fn send_piece(&mut self, bytes: Bytes, start: usize, end: usize) -> io::Result<Bytes> {
        match (&self.tls, bytes) {
            (Some(tls), bytes) => {
                tls.borrow_mut().writer().write_all(&bytes.as_slice()[start..end])?;
                self.flush_tls().await?;
                Ok(bytes)
            }
            (None, Bytes::Owned(owned)) => {
                let (result, slice) = self.raw.write_all(owned.slice(start..end)).await;
                result.map(|_| Bytes::Owned(slice.into_inner()))
            }
            (None, Bytes::Shared(shared)) => {
                let (result, slice) = self.raw.write_all(shared.slice(start..end)).await;
                result.map(|_| Bytes::Shared(slice.into_inner()))
            }
        }
    }

    /// Sends the cipher text that waits in the connection, if any.
    async fn flush_tls(&mut self) -> io::Result<()> {
        let Some(tls) = self.tls.clone() else { return Ok(()) };
        let mut cipher = Vec::new();
        {
            let mut tls = tls.borrow_mut();
            while tls.wants_write() {
                tls.write_tls(&mut cipher)?;
            }
        }
        if cipher.is_empty() {
            return Ok(());
        }
        self.raw.write_all(cipher).await.0.map(|_| ())
    }
}

/// What is to be sent: a buffer of its own, or one that many parcels share.
#[derive(Debug)]
pub(crate) enum Bytes {
    Owned(Vec<u8>),
    Shared(Rc<Vec<u8>>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
        }
    }
}

/// Whether the kernel took every byte of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Lost,
}

/// How a connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// As when a process ends: FIN.
    Fin,
    /// As when a machine is gone: RST.
    Reset,
}

/// Told what became of a parcel.
pub(crate) type Receipt = Box<dyn FnOnce(Delivery)>;

enum Parcel {
    Bytes { bytes: Bytes, split_bytes: usize, receipt: Option<Receipt> },
    HangUp(HangUp),
}

/// The queue in front of a writing half. Whoever has something to say puts it here; one task sends.
pub(crate) struct Outbox {
    queue: RefCell<VecDeque<Parcel>>,
    queued_bytes: Cell<usize>,
    state: Cell<State>,
    changed: Signal,
    fd: RawFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more is taken; what is queued is still sent.
    Finishing,
    /// Nothing is sent any more.
    Gone,
}

impl Outbox {
    /// Starts the sending task.
    pub(crate) fn start(half: WriteHalf) -> Rc<Outbox> {
        let outbox = Rc::new(Outbox {
            queue: RefCell::default(),
            queued_bytes: Cell::new(0),
            state: Cell::new(State::Open),
            changed: Signal::default(),
            fd: half.fd,
        });
        monoio::spawn(Outbox::run(outbox.clone(), half));
        outbox
    }

    pub(crate) fn put(&self, bytes: Bytes) {
        self.put_with(bytes, 0, None);
    }

    /// Queues `bytes`, to be sent in pieces of `split_bytes` if that is not 0. The receipt is called once, when
    /// the last byte was taken by the kernel or when it never will be.
    pub(crate) fn put_with(&self, bytes: Bytes, split_bytes: usize, receipt: Option<Receipt>) {
        if self.state.get() != State::Open {
            receipt.into_iter().for_each(|receipt| receipt(Delivery::Lost));
            return;
        }
        self.queued_bytes.set(self.queued_bytes.get() + bytes.as_slice().len());
        self.queue.borrow_mut().push_back(Parcel::Bytes { bytes, split_bytes, receipt });
        self.changed.ring();
    }

    /// Drops the connection once everything before has been sent.
    pub(crate) fn hang_up(&self, how: HangUp) {
        if self.state.get() == State::Open {
            self.queue.borrow_mut().push_back(Parcel::HangUp(how));
            self.finish();
        }
    }

    /// Takes nothing more, sends what is queued.
    pub(crate) fn finish(&self) {
        if self.state.get() == State::Open {
            self.state.set(State::Finishing);
            self.changed.ring();
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.get()
    }

    /// Waits until less than `bytes` are queued; false if the outbox takes nothing any more.
    pub(crate) async fn room(&self, bytes: usize) -> bool {
        self.changed
            .until(|| match self.state.get() {
                State::Open if self.queued_bytes.get() >= bytes => None,
                state => Some(state == State::Open),
            })
            .await
    }

    /// Finishes, and makes sure that a peer who reads nothing does not hold the session for ever.
    pub(crate) async fn drained(&self) {
        self.finish();
        let gone = self.changed.until(|| (self.state.get() == State::Gone).then_some(()));
        if monoio::time::timeout(DRAIN, gone).await.is_err() {
            shut_down(self.fd, libc::SHUT_RDWR);
        }
    }

    async fn run(outbox: Rc<Outbox>, mut half: WriteHalf) {
        let mut hung_up = HangUp::Fin;
        while let Some(parcel) = outbox.next().await {
            match parcel {
                Parcel::Bytes { bytes, split_bytes, receipt } => {
                    let length = bytes.as_slice().len();
                    let sent = half.send(bytes, split_bytes).await;
                    outbox.queued_bytes.set(outbox.queued_bytes.get() - length);
                    let delivery = if sent.is_ok() { Delivery::Whole } else { Delivery::Lost };
                    receipt.into_iter().for_each(|receipt| receipt(delivery));
                    if sent.is_err() {
                        break;
                    }
                    outbox.changed.ring();
                }
                Parcel::HangUp(how) => {
                    hung_up = how;
                    break;
                }
            }
        }
        outbox.state.set(State::Gone);
        for parcel in outbox.queue.borrow_mut().drain(..) {
            if let Parcel::Bytes { receipt: Some(receipt), .. } = parcel {
                receipt(Delivery::Lost);
            }
        }
        // Wakes our own pending read as well: the session ends with its connection.
        match hung_up {
            HangUp::Fin => shut_down(outbox.fd, libc::SHUT_RDWR),
            HangUp::Reset => {
                reset_on_close(outbox.fd);
                shut_down(outbox.fd, libc::SHUT_RD);
            }
        }
        outbox.changed.ring();
    }

    async fn next(&self) -> Option<Parcel> {
        self.changed
            .until(|| match self.queue.borrow_mut().pop_front() {
                Some(parcel) => Some(Some(parcel)),
                None if self.state.get() == State::Open => None,
                None => Some(None),
            })
            .await
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outbox({:?}, {} bytes queued)", self.state.get(), self.queued_bytes.get())
    }
}

/// Wakes the tasks of this thread that wait for a condition.
#[derive(Debug, Default)]
pub(crate) struct Signal(RefCell<Vec<Waker>>);

impl Signal {
    pub(crate) fn ring(&self) {
        let waiting = self.0.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until `check` yields something; it is asked now and after every ring.
    pub(crate) async fn until<T>(&self, mut check: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| match check() {
            Some(value) => Poll::Ready(value),
            None => {
                let mut waiting = self.0.borrow_mut();
                // Who waits in turns for this and for something else is asked more often than it is rung.
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }
}

/// Ends one or both directions of a socket that is still ours: a pending read completes with 0.
#[allow(
    unsafe_code,
    reason = "std and monoio can only shut a socket down through its owner, which another task holds"
)]
fn shut_down(fd: RawFd, how: libc::c_int) {
    // SAFETY: no memory is involved. The fd is open: the halves that own it live in tasks that end after this.
    unsafe { libc::shutdown(fd, how) };
}

/// Makes the coming close send RST instead of FIN.
#[allow(unsafe_code, reason = "SO_LINGER is not offered by std")]
fn reset_on_close(fd: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: `linger` outlives the call and its size is what is passed.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
}
