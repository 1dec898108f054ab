//! # Connecting a device
//!
//! The two messages of the kernel's generic netlink family `nbd` that are wanted (linux/nbd-netlink.h,
//! linux/genetlink.h).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{self, SocketAddrNetlink},
};

const ERROR: u16 = 2;
const REQUEST_AND_ACK: u16 = 1 | 4;
const NESTED: u16 = 1 << 15;

/// The family that knows the numbers of the others.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const CONNECT: u8 = 1;
const DISCONNECT: u8 = 2;
const INDEX: u16 = 1;
const SIZE: u16 = 2;
const BLOCK_SIZE: u16 = 3;
const SERVER_FLAGS: u16 = 5;
const SOCKETS: u16 = 7;
const SOCKET: u16 = 1;
const SOCKET_FD: u16 = 1;

/// A device without a cache: it is not asked to flush.
const HAS_FLAGS: u64 = 1;
const LOGICAL_BLOCK: u64 = 512;

/// Has the kernel speak through `socket` for the device with this number.
pub(super) fn connect(index: u32, size: u64, socket: BorrowedFd<'_>) -> Result<()> {
    let fd = attribute(SOCKET_FD, &(socket.as_raw_fd() as u32).to_ne_bytes());
    let sockets = attribute(SOCKET | NESTED, &fd);
    let attributes = [
        attribute(INDEX, &index.to_ne_bytes()),
        attribute(SIZE, &size.to_ne_bytes()),
        attribute(BLOCK_SIZE, &LOGICAL_BLOCK.to_ne_bytes()),
        attribute(SERVER_FLAGS, &HAS_FLAGS.to_ne_bytes()),
        attribute(SOCKETS | NESTED, &sockets),
    ];
    Netlink::new()?.ask(CONNECT, &attributes.concat())?;
    Ok(())
}

/// Takes the device from whoever serves it.
pub(super) fn disconnect(index: u32) -> Result<()> {
    Netlink::new()?.ask(DISCONNECT, &attribute(INDEX, &index.to_ne_bytes()))?;
    Ok(())
}

/// A socket to the kernel, and the number of the family.
struct Netlink {
    socket: OwnedFd,
    family: u16,
}

impl Netlink {
    fn new() -> Result<Netlink> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::GENERIC),
        )
        .context("a netlink socket")?;
        let mut netlink = Netlink {
            socket,
            family: CONTROL,
        };
        let answer = netlink
            .ask(GET_FAMILY, &attribute(FAMILY_NAME, b"nbd\0"))
            .context("the netlink family nbd (module nbd)")?;
        netlink.family = number(&answer, FAMILY_ID).context("a family without a number")?;
        Ok(netlink)
    }

    /// Sends a command and waits until it was acknowledged. Returns the attributes of the answer, if there was one.
    fn ask(&self, command: u8, attributes: &[u8]) -> Result<Vec<u8>> {
        let address = SocketAddrNetlink::new(0, 0);
        let message = message(self.family, command, attributes);
        rustix::net::sendto(&self.socket, &message, SendFlags::empty(), &address)?;
        let mut answer = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let (length, _) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((kind, body, next)) = split(rest) {
                if kind == ERROR {
                    let errno = body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
                    match errno.context("half an acknowledgement")? {
                        0 => return Ok(answer),
                        errno => bail!(io::Error::from_raw_os_error(-errno)),
                    }
                }
                ensure!(body.len() >= 4, "half an answer");
                answer = body[4..].to_vec();
                rest = next;
            }
        }
    }
}

/// A command with its two headers.
fn message(family: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    let length = 20 + attributes.len() as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(family.to_ne_bytes());
    bytes.extend(REQUEST_AND_ACK.to_ne_bytes());
    // Number of the message, and of the sender: one question at a time, from one socket.
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// The kind of the first message, what is behind its header, and the messages that follow.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, bytes.get(16..length)?, next))
}

fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = 4 + data.len();
    let mut bytes = (length as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// The number that is the attribute of this kind.
fn number(mut attributes: &[u8], kind: u16) -> Option<u16> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let found = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if found == kind {
            return Some(u16::from_ne_bytes(attributes.get(4..6)?.try_into().ok()?));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again() {
        let all = [
            attribute(FAMILY_NAME, b"nbd\0\0"),
            attribute(FAMILY_ID, &0x1234u16.to_ne_bytes()),
        ]
        .concat();
        assert_eq!(all.len(), 12 + 8);
        assert_eq!(number(&all, FAMILY_ID), Some(0x1234));
        assert_eq!(number(&all, 9), None);
        assert_eq!(number(&all[..15], FAMILY_ID), None);
    }

    #[test]
    fn messages_follow_each_other() {
        let first = message(7, 1, &attribute(INDEX, &[1, 2, 3]));
        let both = [first.clone(), message(8, 2, &[])].concat();
        let (kind, body, rest) = split(&both).unwrap();
        assert_eq!((kind, body, rest.len()), (7, &first[16..], 20));
        let (kind, body, rest) = split(rest).unwrap();
        assert_eq!((kind, body, rest.len()), (8, &[2, 1, 0, 0][..], 0));
        assert!(split(&first[..10]).is_none() && split(&first[..20]).is_none());
    }
}
