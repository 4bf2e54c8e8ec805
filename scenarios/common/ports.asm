; The ports that every guest here knows: the serial line, the interrupt controllers' masks and the way out.
COM1            equ 0x3F8           ; first serial port
COM1_LINE_STAT  equ COM1 + 5
STAT_ROOM       equ 0x20            ; line status: the transmitter can take a byte
PIC1_MASK       equ 0x21
PIC2_MASK       equ 0xA1
EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1
EXIT_PANIC      equ 0x7F
