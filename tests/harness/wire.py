"""The wire format of protobuf as the stand-ins in Python read and write it, by hand, so that they know only what the wire has."""


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, payload):
    """A field that has a length."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, at


def fields(data):
    """(number, value) of each field of a message; a varint as an int, what has a length as bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 2:
            length, at = read_varint(data, at)
            yield key >> 3, data[at:at + length]
            at += length
        elif key & 7 == 0:
            number, at = read_varint(data, at)
            yield key >> 3, number
        else:
            raise ValueError(f"wire type {key & 7}")
