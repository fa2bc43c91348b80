from multiwanbond.core.burst import Bytes

class RunCipher:
    def __new__(cls, is_aes: bool, key_to_send: bytes, key_to_receive: bytes, /) -> RunCipher: ...
    def seal(
        self,
        session: int,
        view: memoryview,
        start: int,
        packet: Bytes,
        header_length: int,
        segment_size: int,
        offset: int,
        count: int,
        path_id: int,
        sequence: int,
        number: int,
        distance: int,
        timestamp: int,
        /,
    ) -> None: ...
    def open_untrusted(
        self, view: memoryview, start: int, size: int, sequence: int, /
    ) -> tuple[int, bytearray | None, int, int]: ...
