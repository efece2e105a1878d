//! Passes open files to another process, over a Unix socket.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

/// The most files that can be passed at once.
pub const MOST: usize = 64;

/// The most bytes of the text that goes with them.
const TEXT: usize = 16 << 10;

/// Sends files with a text, in one message.
///
/// # Errors
/// If they cannot be sent, or there are more than [`MOST`] files.
pub fn give(stream: &UnixStream, text: &str, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !with.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many files"));
    }
    let sent = sendmsg(stream.as_fd(), &[IoSlice::new(text.as_bytes())], &mut with, SendFlags::NOSIGNAL)?;
    if sent < text.len() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
}

/// Receives what [`give`] has sent. Programs that this process starts do not inherit the files.
///
/// # Errors
/// If the other side has closed, or the text is no UTF-8.
pub fn take(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; TEXT];
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let read = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut text)], &mut with, flags)?.bytes;
    let mut files = Vec::new();
    for message in with.drain() {
        if let RecvAncillaryMessage::ScmRights(all) = message {
            files.extend(all);
        }
    }
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    text.truncate(read);
    let text = String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok((text, files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::File,
        io::{Read, Seek, Write},
    };

    #[test]
    fn files_and_their_text_come_as_they_were_given() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"mine").unwrap();
        give(&one, "a text", &[file.as_fd(), one.as_fd()]).unwrap();
        let (text, mut files) = take(&other).unwrap();
        assert_eq!((&*text, files.len()), ("a text", 2));
        let mut same = File::from(files.remove(0));
        same.rewind().unwrap();
        let mut content = String::new();
        same.read_to_string(&mut content).unwrap();
        assert_eq!(content, "mine");
        drop((one, files));
        assert_eq!(take(&other).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
