//! # The server
//!
//! Answers what the kernel asks of the device, one request after another (linux/nbd.h; the simple replies of the NBD
//! protocol). Everything is on the disk when it is answered, so there is nothing to flush.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::{Mutex, PoisonError},
};

use crate::disk::Disk;

const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const EINVAL: u32 = 22;
/// Larger than what the kernel asks for at once.
const MOST: u32 = 64 << 20;

/// Serves until the other end is gone.
pub(super) fn run(disk: &Mutex<Disk>, mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut header = [0; 28];
    let mut answer = Vec::new();
    let mut data = Vec::new();
    loop {
        match from.read_exact(&mut header) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let length = word(24);
        if word(0) != REQUEST || length > MOST {
            return Err(ErrorKind::InvalidData.into());
        }
        let command = word(4) as u16;
        let offset = u64::from_be_bytes(header[16..24].try_into().expect("8 bytes"));
        answer.clear();
        answer.extend(REPLY.to_be_bytes());
        answer.extend(0u32.to_be_bytes());
        answer.extend(&header[8..16]);
        let disk = || disk.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            READ => {
                answer.resize(16 + length as usize, 0);
                disk().read(offset, &mut answer[16..]);
            }
            WRITE => {
                data.resize(length as usize, 0);
                from.read_exact(&mut data)?;
                disk().write(offset, &data);
            }
            DISCONNECT => return Ok(()),
            _ => answer[4..8].copy_from_slice(&EINVAL.to_be_bytes()),
        }
        to.write_all(&answer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    fn request(command: u16, handle: u64, offset: u64, length: u32) -> Vec<u8> {
        let mut bytes = REQUEST.to_be_bytes().to_vec();
        bytes.extend(u32::from(command).to_be_bytes());
        bytes.extend(handle.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes
    }

    #[test]
    fn what_was_written_is_read_and_each_answer_names_its_request() {
        let disk = Mutex::new(Disk::new(Image::new(1 << 16)));
        let mut asked = request(WRITE, 7, 512, 4);
        asked.extend(b"abcd");
        asked.extend(request(READ, 8, 510, 8));
        asked.extend(request(99, 9, 0, 0));
        let mut answers = Vec::new();
        run(&disk, &asked[..], &mut answers).unwrap();
        let mut expected = Vec::new();
        let mut answer = |error: u32, handle: u64, data: &[u8]| {
            expected.extend(REPLY.to_be_bytes());
            expected.extend(error.to_be_bytes());
            expected.extend(handle.to_be_bytes());
            expected.extend(data);
        };
        answer(0, 7, b"");
        answer(0, 8, b"\0\0abcd\0\0");
        answer(EINVAL, 9, b"");
        assert_eq!(answers, expected);
    }

    #[test]
    fn what_is_no_request_ends_it() {
        let disk = Mutex::new(Disk::new(Image::new(1 << 16)));
        let mut answers = Vec::new();
        assert!(run(&disk, &[0; 28][..], &mut answers).is_err());
        assert!(run(&disk, &request(READ, 1, 0, MOST + 1)[..], &mut answers).is_err());
        assert!(answers.is_empty());
    }
}
