; The firmware of ringviz's PC, as far as boot sectors call it: interrupt services in real mode, from ROM at F000:E000.
;
; It never starts by itself: what a PC's firmware does before it loads the boot sector (vectors, data area, interrupt
; controller, timer) is done by the loader, which knows the layout below from `firmware.py`. What it then answers is
; real code on real ports, and so runs under every technique as the guest's own code does.
;
; What is written by teletype goes to the screen, and to the debug console at port E9h, so that a run without a screen
; shows it. Carriage returns are kept from the console.

bits 16
cpu 386
org 0xE000

BDA             equ 0x40                ; segment of the BIOS data area
EBDA            equ 0x9FC0              ; segment of its extension: DISK_SECTORS is ours
DISK_SECTORS    equ 0x10                ; one dword for each of two disks: sectors, 0 if there is none

EQUIPMENT       equ 0x10
MEMORY_KIB      equ 0x13
SHIFT_FLAGS     equ 0x17
KEY_HEAD        equ 0x1A
KEY_TAIL        equ 0x1C
VIDEO_MODE      equ 0x49
COLUMNS         equ 0x4A
PAGE_BYTES      equ 0x4C
PAGE_START      equ 0x4E
CURSORS         equ 0x50                ; one word for each of eight pages: row in the high byte
CURSOR_SHAPE    equ 0x60
PAGE            equ 0x62
TICKS           equ 0x6C
NEW_DAY         equ 0x70
DISK_STATUS     equ 0x74
DISKS           equ 0x75
KEY_FIRST       equ 0x80
KEY_END         equ 0x82
LAST_ROW        equ 0x84
DISK_IRQ_SEEN   equ 0x8E
KEY_PREFIX      equ 0x96                ; bit 1: the last scan code was E0h; bit 4: the keyboard has such keys

TEXT            equ 0xB800
CRTC            equ 0x3D4
CONSOLE         equ 0xE9
TICKS_A_DAY     equ 0x1800B0

; The caller's registers on the stack, from BP on, behind `enter_service`.
%define EDI_    bp + 0
%define ESI_    bp + 4
%define EBP_    bp + 8
%define EBX_    bp + 16
%define EDX_    bp + 20
%define ECX_    bp + 24
%define EAX_    bp + 28
%define ES_     bp + 32
%define DS_     bp + 34
%define FLAGS_  bp + 40
%define AL_     EAX_
%define AH_     EAX_ + 1
%define BL_     EBX_
%define BH_     EBX_ + 1
%define CL_     ECX_
%define CH_     ECX_ + 1
%define DL_     EDX_
%define DH_     EDX_ + 1

%macro enter_service 0
        cld
        push ds
        push es
        pushad
        mov bp, sp
        push BDA
        pop ds
%endmacro

leave_service:
        popad
        pop es
        pop ds
        iret

fail:   or byte [FLAGS_], 1             ; CF
        jmp leave_service
succeed:
        and byte [FLAGS_], 0xFE
        jmp leave_service

; ---- video: INT 10h --------------------------------------------------------------------------------------------------

video:
        enter_service
        movzx bx, byte [AH_]
        cmp bl, 0x13
        ja .other
        shl bx, 1
        jmp [cs:bx + .services]
.other: cmp bl, 0x1A
        jne leave_service
        cmp byte [AL_], 0               ; which display: a colour VGA
        jne leave_service
        mov byte [AL_], 0x1A
        mov word [EBX_], 0x0008
        jmp leave_service
.services:
        dw video_mode, cursor_shape, cursor_set, cursor_get, leave_service, page_select, scroll_up, scroll_down
        dw cell_read, cell_write, char_write, leave_service, leave_service, leave_service, teletype_service, mode_get
        dw leave_service, leave_service, ega_information, string_write

video_mode:
        mov al, [AL_]
        and al, 0x7F
        cmp al, 3                       ; 0 to 3 and 7 are text; there are no graphics
        jbe .text
        cmp al, 7
        jne leave_service
.text:  mov byte [VIDEO_MODE], 3
        mov word [PAGE_START], 0
        mov byte [PAGE], 0
        push ds
        pop es
        mov di, CURSORS
        mov cx, 8
        xor ax, ax
        rep stosw
        mov ax, 0x000C
        call crtc_write
        mov ax, 0x000D
        call crtc_write
        mov cx, 0x0607
        call set_shape
        call show_cursor
        test byte [AL_], 0x80
        jnz leave_service
        push TEXT
        pop es
        xor di, di
        mov cx, 0x4000
        mov ax, 0x0720
        rep stosw
        jmp leave_service

; AL = register, AH = value
crtc_write:
        push dx
        mov dx, CRTC
        out dx, al
        inc dx
        xchg al, ah
        out dx, al
        pop dx
        ret

cursor_shape:
        mov cx, [ECX_]
        call set_shape
        jmp leave_service

set_shape:
        mov [CURSOR_SHAPE], cx
        mov al, 0x0A
        mov ah, ch
        call crtc_write
        mov al, 0x0B
        mov ah, cl
        call crtc_write
        ret

; BX = twice the page that the caller means
page_of_caller:
        movzx bx, byte [BH_]
        and bl, 7
        shl bx, 1
        ret

cursor_set:
        call page_of_caller
        mov dx, [EDX_]
        mov [CURSORS + bx], dx
        call show_cursor
        jmp leave_service

cursor_get:
        call page_of_caller
        mov dx, [CURSORS + bx]
        mov [EDX_], dx
        mov cx, [CURSOR_SHAPE]
        mov [ECX_], cx
        jmp leave_service

; DX = row and column on the page at twice BX: give its offset in text memory in DI
cell_at:
        push ax
        push dx
        mov al, dh
        mul byte [COLUMNS]
        pop dx
        push dx
        xor dh, dh
        add ax, dx
        shl ax, 1
        mov di, ax
        mov ax, bx
        shr ax, 1
        mul word [PAGE_BYTES]
        add di, ax
        pop dx
        pop ax
        ret

; put the cursor of the page that is shown where it belongs
show_cursor:
        push bx
        push dx
        push di
        movzx bx, byte [PAGE]
        shl bx, 1
        mov dx, [CURSORS + bx]
        call cell_at
        shr di, 1
        mov ax, di
        mov al, 0x0E
        call crtc_write
        mov ax, di
        mov ah, al
        mov al, 0x0F
        call crtc_write
        pop di
        pop dx
        pop bx
        ret

page_select:
        mov al, [AL_]
        and al, 7
        mov [PAGE], al
        xor ah, ah
        mul word [PAGE_BYTES]
        mov [PAGE_START], ax
        shr ax, 1
        mov dx, ax
        mov al, 0x0C
        mov ah, dh
        call crtc_write
        mov al, 0x0D
        mov ah, dl
        call crtc_write
        call show_cursor
        jmp leave_service

scroll_up:
        mov si, 1
        jmp scroll
scroll_down:
        mov si, -1
; the caller's window: AL lines (0: all), BH attribute, CX and DX its corners
scroll: mov al, [AL_]
        mov ah, [BH_]
        mov cx, [ECX_]
        mov dx, [EDX_]
        call scroll_window
        jmp leave_service

; AL = lines, AH = attribute, CX and DX = corners, SI = 1 up or -1 down; on the page that is shown
scroll_window:
        cmp dh, [LAST_ROW]
        jbe .rows
        mov dh, [LAST_ROW]
.rows:  cmp dl, [COLUMNS]
        jb .columns
        mov dl, [COLUMNS]
        dec dl
.columns:
        sub dh, ch                      ; DH = rows less one, DL = columns
        jb .done
        sub dl, cl
        jb .done
        inc dl
        inc dh
        test al, al
        jz .blank_all
        cmp al, dh
        jb .begin
.blank_all:
        mov al, dh
.begin: push TEXT
        pop es
        mov bl, dh
        sub bl, al                      ; BL = rows that are moved, DH = rows that are cleared
        mov dh, al
        mov bh, ch                      ; BH = row that is written next
        cmp si, 0
        jg .next
        add bh, bl
        add bh, dh
        dec bh
.next:  test bl, bl
        jz .clear
        push ax
        push bx
        push cx
        push dx
        push si
        mov al, dh                      ; the row it comes from: BH + lines, or BH - lines
        cmp si, 0
        jg .down
        neg al
.down:  add al, bh
        mov ch, al
        mov bp, dx
        mov dh, ch
        mov dl, cl
        mov ch, bh
        movzx bx, byte [PAGE]
        shl bx, 1
        call cell_at
        mov si, di
        mov dh, ch
        call cell_at
        mov cx, bp
        xor ch, ch
        push ds
        push es
        pop ds
        rep movsw
        pop ds
        pop si
        pop dx
        pop cx
        pop bx
        pop ax
        cmp si, 0
        jg .lower
        sub bh, 2
.lower: inc bh
        dec bl
        jmp .next
.clear: test dh, dh
        jz .done
        push ax
        push bx
        push cx
        push dx
        mov ch, dl
        mov dh, bh
        mov dl, cl
        movzx bx, byte [PAGE]
        shl bx, 1
        call cell_at
        mov al, ' '
        mov cl, ch
        xor ch, ch
        rep stosw
        pop dx
        pop cx
        pop bx
        pop ax
        cmp si, 0
        jg .below
        sub bh, 2
.below: inc bh
        dec dh
        jmp .clear
.done:  ret

cell_read:
        call cursor_cell
        mov ax, [es:di]
        mov [EAX_], ax
        jmp leave_service

; ES:DI = the cell at the cursor of the page that the caller means
cursor_cell:
        call page_of_caller
        mov dx, [CURSORS + bx]
        call cell_at
        push TEXT
        pop es
        ret

cell_write:
        call cursor_cell
        mov al, [AL_]
        mov ah, [BL_]
        mov cx, [ECX_]
        rep stosw
        jmp leave_service

char_write:
        call cursor_cell
        mov al, [AL_]
        mov cx, [ECX_]
        jcxz .done
.next:  stosb
        inc di
        loop .next
.done:  jmp leave_service

mode_get:
        mov al, [VIDEO_MODE]
        mov ah, [COLUMNS]
        mov [EAX_], ax
        mov al, [PAGE]
        mov [BH_], al
        jmp leave_service

ega_information:
        cmp byte [BL_], 0x10
        jne leave_service
        mov word [EBX_], 0x0003         ; colour, 256 KiB
        mov word [ECX_], 0x0009
        jmp leave_service

teletype_service:
        call page_of_caller
        mov al, [AL_]
        call teletype
        jmp leave_service

; AL = character, BX = twice the page: write it, keeping the attribute that is there, and move the cursor
teletype:
        push ax
        push cx
        push dx
        push si
        push di
        push es
        push bp
        cmp al, 13
        je .screen
        out CONSOLE, al
.screen:
        mov dx, [CURSORS + bx]
        cmp al, 7
        je .done
        cmp al, 8
        je .back
        cmp al, 10
        je .line
        cmp al, 13
        je .return
        call cell_at
        push TEXT
        pop es
        mov [es:di], al
        inc dl
        cmp dl, [COLUMNS]
        jb .move
        xor dl, dl
.line:  inc dh
        cmp dh, [LAST_ROW]
        jbe .move
        mov dh, [LAST_ROW]
        push bx
        push dx
        call cell_at                    ; a new line takes the attribute that it finds
        push TEXT
        pop es
        mov ax, [es:di]
        mov al, 1
        xor cx, cx
        mov dl, [COLUMNS]
        dec dl
        mov si, 1
        call scroll_window
        pop dx
        pop bx
.move:  mov [CURSORS + bx], dx
        call show_cursor
.done:  pop bp
        pop es
        pop di
        pop si
        pop dx
        pop cx
        pop ax
        ret
.back:  test dl, dl
        jz .done
        dec dl
        jmp .move
.return:
        xor dl, dl
        jmp .move

; ES:BP = text, CX = characters, DX = where, BL = attribute; AL bit 0: the cursor moves, bit 1: attributes are in it
string_write:
        call page_of_caller
        push word [CURSORS + bx]
        mov dx, [EDX_]
        mov [CURSORS + bx], dx
        mov cx, [ECX_]
        mov si, [EBP_]
        jcxz .end
.next:  push es
        mov es, [ES_]
        mov al, [es:si]
        inc si
        mov ah, [BL_]
        test byte [AL_], 2
        jz .plain
        mov ah, [es:si]
        inc si
.plain: pop es
        cmp al, 13
        ja .visible
        cmp al, 7
        jb .visible
        cmp al, 9
        je .visible
        cmp al, 11
        je .visible
        cmp al, 12
        jne .write
.visible:
        mov dx, [CURSORS + bx]
        call cell_at
        push es
        push TEXT
        pop es
        mov [es:di + 1], ah
        pop es
.write: call teletype
        loop .next
.end:   pop dx
        test byte [AL_], 1
        jnz leave_service
        mov [CURSORS + bx], dx
        call show_cursor
        jmp leave_service

; ---- what there is: INT 11h and 12h ----------------------------------------------------------------------------------

equipment:
        push ds
        push BDA
        pop ds
        mov ax, [EQUIPMENT]
        pop ds
        iret

memory_size:
        push ds
        push BDA
        pop ds
        mov ax, [MEMORY_KIB]
        pop ds
        iret

; ---- disks: INT 13h --------------------------------------------------------------------------------------------------

HEADS           equ 16                  ; of the translation; 255 where that would take more than 1,024 cylinders
SECTORS         equ 63

OK              equ 0x00
BAD_COMMAND     equ 0x01
NOT_FOUND       equ 0x04
CONTROLLER      equ 0x20

READ_SECTORS    equ 0x20
WRITE_SECTORS   equ 0x30
VERIFY_SECTORS  equ 0x40

disk:
        enter_service
        sti
        movzx bx, byte [DL_]
        sub bl, 0x80
        jb .none
        cmp bl, 2
        jae .none
        shl bx, 2
        push EBDA
        pop es
        mov eax, [es:bx + DISK_SECTORS] ; EAX = sectors of the disk that the caller means
        test eax, eax
        jnz .there
.none:  cmp byte [AH_], 0x15            ; "which type" has an answer for it
        jne .refuse
        mov byte [AH_], 0
        jmp succeed
.refuse:
        mov ah, BAD_COMMAND
        jmp disk_end
.there: movzx bx, byte [AH_]
        cmp bl, 0x15
        ja .extended
        shl bx, 1
        jmp [cs:bx + .services]
.extended:
        sub bl, 0x41
        jb .refuse
        cmp bl, 7
        ja .refuse
        shl bx, 1
        jmp [cs:bx + .extensions]
.services:
        dw disk_reset, disk_status, disk_read, disk_write, disk_verify, .refuse, .refuse, .refuse
        dw disk_parameters, disk_fine, .refuse, .refuse, disk_fine, disk_reset, .refuse, .refuse
        dw disk_fine, disk_fine, .refuse, .refuse, .refuse, disk_type
.extensions:
        dw extensions_check, extended_read, extended_write, extended_verify, .refuse, .refuse, disk_fine
        dw extended_parameters

; AH = status: note it and return
disk_end:
        mov [DISK_STATUS], ah
        mov [AH_], ah
        test ah, ah
        jz succeed
        jmp fail

disk_fine:
        mov ah, OK
        jmp disk_end

disk_reset:
        mov dx, 0x3F6
        mov al, 0x06                    ; SRST, nIEN
        out dx, al
        mov al, 0x02
        out dx, al
        call wait_until_free
        mov dx, 0x3F6
        xor al, al
        out dx, al
        jmp disk_fine

disk_status:
        mov ah, [DISK_STATUS]
        mov [AH_], ah
        mov byte [DISK_STATUS], 0
        test ah, ah
        jz succeed
        jmp fail

disk_read:
        mov cl, READ_SECTORS
        jmp by_cylinder
disk_write:
        mov cl, WRITE_SECTORS
        jmp by_cylinder
disk_verify:
        mov cl, VERIFY_SECTORS

; CL = command of the drive, EAX = its sectors; AL sectors from CH, CL, DH on, at ES:BX of the caller
by_cylinder:
        mov edi, eax
        call translation                ; BX = heads
        mov ah, BAD_COMMAND
        cmp byte [AL_], 0
        je .refuse
        cmp byte [AL_], 128
        ja .refuse
        mov al, [CL_]
        and al, 0x3F
        jz .refuse
        movzx esi, al
        dec esi                         ; ESI = sector from 0
        movzx eax, byte [CL_]
        and al, 0xC0
        shl ax, 2
        mov al, [CH_]                   ; AX = cylinder
        movzx ebx, bx
        movzx edx, byte [DH_]
        cmp edx, ebx
        jae .absent
        push edx
        mul ebx
        pop edx
        add eax, edx
        imul eax, eax, SECTORS
        add esi, eax                    ; ESI = block
        movzx eax, byte [AL_]
        mov bx, [EBX_]
        mov es, [ES_]
        call transfer
        mov [AL_], al
        jmp disk_end
.absent:
        mov ah, NOT_FOUND
.refuse:
        mov byte [AL_], 0
        jmp disk_end

; EAX = sectors: give the heads of the translation in BX, and its cylinders in EAX
translation:
        push edx
        push ecx
        mov ecx, HEADS * SECTORS
        mov bx, HEADS
        xor edx, edx
        push eax
        div ecx
        cmp eax, 1024
        jbe .fits
        pop eax
        push eax
        mov ecx, 255 * SECTORS
        mov bx, 255
        xor edx, edx
        div ecx
        cmp eax, 1024
        jbe .fits
        mov eax, 1024
.fits:  cmp eax, 1
        jae .any
        mov eax, 1                      ; a disk of less than a cylinder
.any:   pop edx
        pop ecx
        pop edx
        ret

; Move AX sectors (1 to 128) from block ESI on, of a disk of EDI sectors, with command CL, at ES:BX.
; Gives the status in AH and the sectors that were moved in AL.
transfer:
        mov ah, NOT_FOUND
        movzx edx, al
        add edx, esi
        jc .none
        cmp edx, edi
        ja .none
        mov ch, al                      ; CH = sectors left
        movzx edi, bx                   ; the buffer may be anywhere in its segment: bring its offset below 16
        shr di, 4
        mov ax, es
        add ax, di
        mov es, ax
        mov di, bx
        and di, 15
        mov dx, 0x3F6
        mov al, 0x02                    ; nIEN: this is by polling
        out dx, al
        call wait_until_free
        mov dx, 0x1F6
        mov eax, esi
        shr eax, 24
        mov ah, [DL_]
        and ah, 1
        shl ah, 4
        or al, ah
        or al, 0xE0
        out dx, al
        call wait_until_free
        mov dx, 0x1F2
        mov al, ch
        out dx, al
        inc dx
        mov eax, esi
        out dx, al
        inc dx
        shr eax, 8
        out dx, al
        inc dx
        shr eax, 8
        out dx, al
        mov dx, 0x1F7
        mov al, cl
        out dx, al
        mov bl, 0                       ; BL = sectors done
        cmp cl, VERIFY_SECTORS
        je .check
.sector:
        call wait_until_free
        test al, 0x21                   ; ERR, DF
        jnz .failed
        test al, 0x08                   ; DRQ
        jz .failed
        push cx
        mov dx, 0x1F0
        cmp cl, WRITE_SECTORS
        mov cx, 256
        je .write
        rep insw
        jmp .moved
.write: push ds
        push si
        push es
        pop ds
        mov si, di
        rep outsw
        mov di, si
        pop si
        pop ds
.moved: pop cx
        inc bl
        dec ch
        jnz .sector
        cmp cl, WRITE_SECTORS
        jne .end
.check: call wait_until_free
        test al, 0x21
        jnz .failed
        cmp cl, VERIFY_SECTORS
        jne .end
        mov bl, ch
.end:   mov ah, OK
        jmp .leave
.failed:
        mov ah, CONTROLLER
.leave: push ax
        mov dx, 0x1F7                   ; and forget its request
        in al, dx
        mov dx, 0x3F6
        xor al, al
        out dx, al
        pop ax
        mov al, bl
        ret
.none:  mov al, 0
        ret

; wait for BSY to go; AL = status
wait_until_free:
        push dx
        mov dx, 0x1F7
.again: in al, dx
        test al, 0x80
        jnz .again
        pop dx
        ret

disk_parameters:
        call translation
        sub ax, 2                       ; the last cylinder, head and sector; the one behind it is for tests
        jns .cylinders
        xor ax, ax
.cylinders:
        mov [CH_], al
        shl ah, 6
        or ah, SECTORS
        mov [CL_], ah
        dec bl
        mov [DH_], bl
        mov al, [DISKS]
        mov [DL_], al
        mov byte [AL_], 0
        mov byte [BL_], 0
        jmp disk_fine

disk_type:
        mov [EDX_], ax
        shr eax, 16
        mov [ECX_], ax
        mov byte [AH_], 3               ; a hard disk
        mov byte [DISK_STATUS], 0
        jmp succeed

extensions_check:
        mov ah, BAD_COMMAND
        cmp word [EBX_], 0x55AA
        jne disk_end
        mov word [EBX_], 0xAA55
        mov word [ECX_], 1              ; the packet functions
        mov byte [AH_], 0x21            ; version 1.1
        mov byte [DISK_STATUS], 0
        jmp succeed

extended_read:
        mov cl, READ_SECTORS
        jmp by_packet
extended_write:
        mov cl, WRITE_SECTORS
        jmp by_packet
extended_verify:
        mov cl, VERIFY_SECTORS

; CL = command, EAX = sectors of the disk; DS:SI of the caller = packet: size, 0, count, buffer, block of 64 bits
by_packet:
        mov edi, eax
        push fs
        mov fs, [DS_]
        mov si, [ESI_]
        mov ah, BAD_COMMAND
        cmp byte [fs:si], 16
        jb .refuse
        mov ax, [fs:si + 2]
        cmp dword [fs:si + 12], 0
        jne .absent
        test ax, ax
        jz .nothing
        cmp ax, 127
        ja .many
        les bx, [fs:si + 4]
        push si
        mov esi, [fs:si + 8]
        call transfer
        pop si
        movzx dx, al
        mov [fs:si + 2], dx
        jmp .end
.nothing:
        mov ah, OK
        jmp .end
.many:  mov ah, BAD_COMMAND
        jmp .refuse
.absent:
        mov ah, NOT_FOUND
.refuse:
        mov word [fs:si + 2], 0
.end:   pop fs
        jmp disk_end

; DS:SI of the caller = buffer
extended_parameters:
        mov es, [DS_]
        mov di, [ESI_]
        mov cx, [es:di]
        mov ebx, eax
        mov ah, BAD_COMMAND
        cmp cx, 26
        jb disk_end
        mov eax, ebx
        push ebx
        call translation
        movzx ecx, bx
        pop ebx
        mov word [es:di], 26
        mov word [es:di + 2], 2         ; cylinders, heads and sectors are valid
        mov [es:di + 4], eax
        mov [es:di + 8], ecx
        mov dword [es:di + 12], SECTORS
        mov [es:di + 16], ebx
        mov dword [es:di + 20], 0
        mov word [es:di + 24], 512
        jmp disk_fine

; ---- the system: INT 15h ---------------------------------------------------------------------------------------------

system:
        enter_service
        mov ax, [EAX_]
        cmp ax, 0xE820
        je memory_map
        cmp ax, 0xE801
        je memory_e801
        cmp ah, 0x88
        je memory_88
        cmp ah, 0x24
        je gate_a20
        cmp ah, 0x86
        je wait_microseconds
        cmp ah, 0x4F
        je fail                         ; the scan code is to be processed as it is
        cmp ah, 0xC0
        je configuration
        cmp ah, 0xC1
        je ebda_segment
        mov byte [AH_], 0x86            ; no such function
        jmp fail

; EAX = KiB above 1 MiB
extended_kib:
        push cx
        mov al, 0x35
        call cmos_read
        mov ch, al
        mov al, 0x34
        call cmos_read
        mov cl, al                      ; CX = blocks of 64 KiB above 16 MiB
        test cx, cx
        jz .less
        movzx eax, cx
        shl eax, 6
        add eax, 15 * 1024
        pop cx
        ret
.less:  mov al, 0x31
        call cmos_read
        mov ch, al
        mov al, 0x30
        call cmos_read
        mov cl, al
        movzx eax, cx
        pop cx
        ret

; AL = register: give it in AL
cmos_read:
        out 0x70, al
        in al, 0x71
        ret

; AL = register, AH = value
cmos_write:
        out 0x70, al
        mov al, ah
        out 0x71, al
        ret

memory_map:
        cmp dword [EDX_], 'PAMS'        ; "SMAP" from the left
        jne .refuse
        cmp dword [ECX_], 20
        jb .refuse
        mov ebx, [EBX_]
        cmp ebx, 3
        ja .refuse
        mov es, [ES_]
        mov di, [EDI_]
        mov si, bx
        shl si, 4
        add si, .ranges
        mov eax, [cs:si]
        mov [es:di], eax
        mov dword [es:di + 4], 0
        mov eax, [cs:si + 4]
        cmp ebx, 3
        jne .fixed
        call extended_kib
        shl eax, 10
.fixed: mov [es:di + 8], eax
        mov dword [es:di + 12], 0
        mov eax, [cs:si + 8]
        mov [es:di + 16], eax
        mov eax, [cs:si + 12]
        mov [EBX_], eax
        mov dword [EAX_], 'PAMS'
        mov dword [ECX_], 20
        jmp succeed
.refuse:
        mov byte [AH_], 0x86
        jmp fail
        align 4
.ranges:                                ; start, length, type, the next one's number
        dd 0x00000, 0x9FC00, 1, 1
        dd 0x9FC00, 0x00400, 2, 2
        dd 0xF0000, 0x10000, 2, 3
        dd 0x100000, 0, 1, 0            ; its length comes from the CMOS memory

memory_e801:
        call extended_kib
        xor ebx, ebx
        cmp eax, 15 * 1024
        jbe .low
        mov ebx, eax
        sub ebx, 15 * 1024
        shr ebx, 6
        mov eax, 15 * 1024
.low:   mov [EAX_], ax
        mov [ECX_], ax
        mov [EBX_], bx
        mov [EDX_], bx
        jmp succeed

memory_88:
        call extended_kib
        cmp eax, 0xFC00                 ; no more than 63 MiB can be said
        jbe .said
        mov eax, 0xFC00
.said:  mov [EAX_], ax
        jmp succeed

gate_a20:
        cmp al, 3
        ja .refuse
        je .support
        cmp al, 2
        je .query
        mov ah, al
        shl ah, 1
        in al, 0x92
        and al, 0xFC
        or al, ah
        out 0x92, al
        jmp .done
.query: in al, 0x92
        shr al, 1
        and al, 1
        mov [AL_], al
        jmp .done
.support:
        mov word [EBX_], 3              ; by the keyboard controller, and by port 92h
.done:  mov byte [AH_], 0
        jmp succeed
.refuse:
        mov byte [AH_], 0x86
        jmp fail

wait_microseconds:
        sti
        movzx eax, word [ECX_]
        shl eax, 16
        mov ax, [EDX_]
        test eax, eax
        jns .long
        mov eax, 0x7FFFFFFF
.long:  mov ebx, 1193182                ; clocks of the timer in a second
        mul ebx
        mov ebx, 1000000
        div ebx
        inc eax
        mov esi, eax                    ; ESI = clocks to wait
        call timer_count
        mov bx, ax
.again: call timer_count
        mov cx, bx
        sub cx, ax                      ; it counts down
        mov bx, ax
        movzx ecx, cx
        sub esi, ecx
        ja .again
        mov byte [AH_], 0
        jmp succeed

timer_count:
        mov al, 0                       ; latch counter 0
        out 0x43, al
        in al, 0x40
        mov ah, al
        in al, 0x40
        xchg al, ah
        ret

configuration:
        mov word [EBX_], .table
        mov [ES_], cs
        mov byte [AH_], 0
        jmp succeed
.table: dw 8
        db 0xFC, 0x01, 0x00             ; an AT
        db 0x70                         ; second 8259A, clock, keyboard intercept
        db 0, 0, 0, 0

ebda_segment:
        mov word [ES_], EBDA
        jmp succeed

; ---- keyboard: INT 16h, and INT 09h from the controller --------------------------------------------------------------

keyboard:
        enter_service
        mov ah, [AH_]
        mov bl, ah
        and bl, 0x10                    ; BL = the caller knows the keys of the long keyboard
        and ah, 0xEF
        jz .wait
        cmp ah, 1
        je .look
        cmp ah, 2
        je .flags
        cmp ah, 5
        je .put
        jmp leave_service
.wait:  cli
        mov si, [KEY_HEAD]
        cmp si, [KEY_TAIL]
        jne .take
        sti
        hlt
        jmp .wait
.take:  mov ax, [si]
        call next_key
        mov [KEY_HEAD], si
        call as_short_keyboard
        jc .wait
        mov [EAX_], ax
        jmp leave_service
.look:  cli
        mov si, [KEY_HEAD]
        cmp si, [KEY_TAIL]
        je .nothing
        mov ax, [si]
        call as_short_keyboard
        jnc .found
        call next_key                   ; a key that the caller does not know
        mov [KEY_HEAD], si
        jmp .look
.found: mov [EAX_], ax
        and byte [FLAGS_], 0xBF         ; ZF
        jmp leave_service
.nothing:
        or byte [FLAGS_], 0x40
        jmp leave_service
.flags: mov al, [SHIFT_FLAGS]
        mov [AL_], al
        test bl, bl
        jz leave_service
        mov al, [SHIFT_FLAGS + 1]
        mov [AH_], al
        jmp leave_service
.put:   mov ax, [ECX_]
        call put_key
        mov al, 0
        adc al, 0
        mov [AL_], al
        jmp leave_service

; SI = place in the buffer: the one behind it
next_key:
        inc si
        inc si
        cmp si, [KEY_END]
        jb .end
        mov si, [KEY_FIRST]
.end:   ret

; AX = key: put it into the buffer; CF if that is full
put_key:
        push si
        push di
        mov di, [KEY_TAIL]
        mov si, di
        call next_key
        cmp si, [KEY_HEAD]
        je .full
        mov [di], ax
        mov [KEY_TAIL], si
        clc
        jmp .end
.full:  stc
.end:   pop di
        pop si
        ret

; AX = key, BL = 10h if the caller knows the long keyboard: say it as the short one does; CF if that has no such key
as_short_keyboard:
        test bl, bl
        jnz .known
        cmp al, 0xE0
        jne .plain
        test ah, ah
        jz .known
        xor al, al
        ret
.plain: cmp ah, 0x84
        ja .unknown
.known: clc
        ret
.unknown:
        cmp ah, 0xE0                    ; Enter and / of the keypad
        jne .no
        mov ah, 0x1C
        cmp al, '/'
        jne .known
        mov ah, 0x35
        jmp .known
.no:    stc
        ret

RIGHT_SHIFT     equ 0x01
LEFT_SHIFT      equ 0x02
CTRL            equ 0x04
ALT             equ 0x08
NUM_LOCK        equ 0x20
CAPS_LOCK       equ 0x40

key_pressed:
        cld
        push ds
        pushad
        push BDA
        pop ds
        in al, 0x60
        cmp al, 0xE0
        jne .code
        or byte [KEY_PREFIX], 2
        jmp .end
.code:  mov bl, [KEY_PREFIX]
        and byte [KEY_PREFIX], 0xFD
        and bl, 2                       ; BL = behind E0h
        mov ah, al
        and ah, 0x7F                    ; AH = key, AL bit 7 = released
        mov si, .holds
.hold:  mov cx, [cs:si]
        jcxz .no_hold
        add si, 2
        cmp cl, ah
        jne .hold
        test bl, bl
        jz .held
        test ch, LEFT_SHIFT | RIGHT_SHIFT       ; a shift that the keyboard makes up
        jnz .end
.held:  test al, 0x80
        jnz .let_go
        or [SHIFT_FLAGS], ch
        jmp .end
.let_go:
        not ch
        and [SHIFT_FLAGS], ch
        jmp .end
.no_hold:
        test al, 0x80
        jnz .end
        mov cl, NUM_LOCK
        cmp ah, 0x45
        je .lock
        mov cl, CAPS_LOCK
        cmp ah, 0x3A
        jne .key
.lock:  xor [SHIFT_FLAGS], cl
        jmp .end
.key:   cmp ah, 0x58
        ja .end
        movzx si, ah
        shl si, 3
        mov dl, [SHIFT_FLAGS]
        test dl, ALT
        jnz .alt
        test dl, CTRL
        jnz .ctrl
        xor cx, cx                      ; CL = 1: the column for Shift
        test dl, LEFT_SHIFT | RIGHT_SHIFT
        jz .small
        inc cx
.small: test bl, bl
        jnz .chosen
        cmp ah, 0x47
        jb .letter
        cmp ah, 0x53
        ja .letter
        test dl, NUM_LOCK
        jz .chosen
        xor cl, 1
        jmp .chosen
.letter:
        mov al, [cs:keys + si]
        cmp al, 'a'
        jb .chosen
        cmp al, 'z'
        ja .chosen
        test dl, CAPS_LOCK
        jz .chosen
        xor cl, 1
.chosen:
        shl cx, 1
        add si, cx
        jmp .take
.ctrl:  add si, 4
        jmp .take
.alt:   add si, 6
.take:  mov ax, [cs:keys + si]
        test ax, ax
        jz .end
        test bl, bl
        jz .put
        cmp ah, 0x47                    ; the grey keys of the long keyboard say E0h
        jb .grey
        cmp ah, 0x94
        ja .put
        mov al, 0xE0
        jmp .put
.grey:  mov ah, 0xE0                    ; Enter and / of its keypad
.put:   call put_key
.end:   mov al, 0x20
        out 0x20, al
        popad
        pop ds
        iret
.holds: db 0x36, RIGHT_SHIFT, 0x2A, LEFT_SHIFT, 0x1D, CTRL, 0x38, ALT, 0, 0

; What each key says: alone, with Shift, with Ctrl, with Alt; 0 says nothing.
        align 2
keys:
        dw 0, 0, 0, 0
        dw 0x011B, 0x011B, 0x011B, 0x0100               ; Esc
        dw 0x0231, 0x0221, 0x0000, 0x7800               ; 1
        dw 0x0332, 0x0340, 0x0300, 0x7900               ; 2
        dw 0x0433, 0x0423, 0x0000, 0x7A00               ; 3
        dw 0x0534, 0x0524, 0x0000, 0x7B00               ; 4
        dw 0x0635, 0x0625, 0x0000, 0x7C00               ; 5
        dw 0x0736, 0x075E, 0x071E, 0x7D00               ; 6
        dw 0x0837, 0x0826, 0x0000, 0x7E00               ; 7
        dw 0x0938, 0x092A, 0x0000, 0x7F00               ; 8
        dw 0x0A39, 0x0A28, 0x0000, 0x8000               ; 9
        dw 0x0B30, 0x0B29, 0x0000, 0x8100               ; 0
        dw 0x0C2D, 0x0C5F, 0x0C1F, 0x8200               ; -
        dw 0x0D3D, 0x0D2B, 0x0000, 0x8300               ; =
        dw 0x0E08, 0x0E08, 0x0E7F, 0x0E00               ; Backspace
        dw 0x0F09, 0x0F00, 0x9400, 0xA500               ; Tab
%macro letters 2+
%assign code %1
%defstr text %2
%strlen count text
%assign number 1
%rep count
%substr letter text number
        dw code << 8 | letter, code << 8 | (letter - 32), code << 8 | (letter - 96), code << 8
%assign code code + 1
%assign number number + 1
%endrep
%endmacro
        letters 0x10, qwertyuiop
        dw 0x1A5B, 0x1A7B, 0x1A1B, 0x1A00               ; [
        dw 0x1B5D, 0x1B7D, 0x1B1D, 0x1B00               ; ]
        dw 0x1C0D, 0x1C0D, 0x1C0A, 0x1C00               ; Enter
        dw 0, 0, 0, 0                                   ; Ctrl
        letters 0x1E, asdfghjkl
        dw 0x273B, 0x273A, 0x0000, 0x2700               ; ;
        dw 0x2827, 0x2822, 0x0000, 0x2800               ; '
        dw 0x2960, 0x297E, 0x0000, 0x2900               ; `
        dw 0, 0, 0, 0                                   ; left Shift
        dw 0x2B5C, 0x2B7C, 0x2B1C, 0x2B00               ; backslash
        letters 0x2C, zxcvbnm
        dw 0x332C, 0x333C, 0x0000, 0x3300               ; ,
        dw 0x342E, 0x343E, 0x0000, 0x3400               ; .
        dw 0x352F, 0x353F, 0x0000, 0x3500               ; /
        dw 0, 0, 0, 0                                   ; right Shift
        dw 0x372A, 0x372A, 0x9600, 0x3700               ; * of the keypad
        dw 0, 0, 0, 0                                   ; Alt
        dw 0x3920, 0x3920, 0x3920, 0x3920               ; Space
        dw 0, 0, 0, 0                                   ; Caps Lock
%assign number 0
%rep 10                                                 ; F1 to F10
        dw (0x3B + number) << 8, (0x54 + number) << 8, (0x5E + number) << 8, (0x68 + number) << 8
%assign number number + 1
%endrep
        dw 0, 0, 0, 0                                   ; Num Lock
        dw 0, 0, 0, 0                                   ; Scroll Lock
        dw 0x4700, 0x4737, 0x7700, 0x9700               ; Home
        dw 0x4800, 0x4838, 0x8D00, 0x9800               ; up
        dw 0x4900, 0x4939, 0x8400, 0x9900               ; Page Up
        dw 0x4A2D, 0x4A2D, 0x8E00, 0x4A00               ; - of the keypad
        dw 0x4B00, 0x4B34, 0x7300, 0x9B00               ; left
        dw 0x4C00, 0x4C35, 0x8F00, 0x0000               ; 5 of the keypad
        dw 0x4D00, 0x4D36, 0x7400, 0x9D00               ; right
        dw 0x4E2B, 0x4E2B, 0x9000, 0x4E00               ; + of the keypad
        dw 0x4F00, 0x4F31, 0x7500, 0x9F00               ; End
        dw 0x5000, 0x5032, 0x9100, 0xA000               ; down
        dw 0x5100, 0x5133, 0x7600, 0xA100               ; Page Down
        dw 0x5200, 0x5230, 0x9200, 0xA200               ; Insert
        dw 0x5300, 0x532E, 0x9300, 0xA300               ; Delete
        dw 0, 0, 0, 0                                   ; SysRq
        dw 0, 0, 0, 0
        dw 0x565C, 0x567C, 0x0000, 0x5600               ; the key beside the left Shift
        dw 0x8500, 0x8700, 0x8900, 0x8B00               ; F11
        dw 0x8600, 0x8800, 0x8A00, 0x8C00               ; F12

; ---- the clock: INT 08h from the timer, INT 1Ah ----------------------------------------------------------------------

timer:
        push ds
        push eax
        push BDA
        pop ds
        mov eax, [TICKS]
        inc eax
        cmp eax, TICKS_A_DAY
        jb .day
        xor eax, eax
        mov byte [NEW_DAY], 1
.day:   mov [TICKS], eax
        int 0x1C
        cli
        mov al, 0x20
        out 0x20, al
        pop eax
        pop ds
        iret

clock:
        enter_service
        movzx bx, byte [AH_]
        cmp bl, 5
        ja fail
        shl bx, 1
        jmp [cs:bx + .services]
.services:
        dw ticks_get, ticks_set, time_get, time_set, date_get, date_set

ticks_get:
        mov ax, [TICKS]
        mov [EDX_], ax
        mov ax, [TICKS + 2]
        mov [ECX_], ax
        mov al, [NEW_DAY]
        mov byte [NEW_DAY], 0
        mov [AL_], al
        jmp succeed

ticks_set:
        mov ax, [EDX_]
        mov [TICKS], ax
        mov ax, [ECX_]
        mov [TICKS + 2], ax
        mov byte [NEW_DAY], 0
        jmp succeed

; wait until the clock is not about to change
clock_settled:
        mov al, 0x0A
        call cmos_read
        test al, 0x80
        jnz clock_settled
        ret

time_get:
        call clock_settled
        mov al, 0
        call cmos_read
        mov [DH_], al
        mov al, 2
        call cmos_read
        mov [CL_], al
        mov al, 4
        call cmos_read
        mov [CH_], al
        mov al, 0x0B
        call cmos_read
        and al, 1
        mov [DL_], al
        jmp succeed

time_set:
        mov al, 0
        mov ah, [DH_]
        call cmos_write
        mov al, 2
        mov ah, [CL_]
        call cmos_write
        mov al, 4
        mov ah, [CH_]
        call cmos_write
        jmp succeed

date_get:
        call clock_settled
        mov al, 7
        call cmos_read
        mov [DL_], al
        mov al, 8
        call cmos_read
        mov [DH_], al
        mov al, 9
        call cmos_read
        mov [CL_], al
        mov al, 0x32
        call cmos_read
        mov [CH_], al
        jmp succeed

date_set:
        mov al, 7
        mov ah, [DL_]
        call cmos_write
        mov al, 8
        mov ah, [DH_]
        call cmos_write
        mov al, 9
        mov ah, [CL_]
        call cmos_write
        mov al, 0x32
        mov ah, [CH_]
        call cmos_write
        jmp succeed

; ---- booting once more: INT 19h, and INT 18h where that fails --------------------------------------------------------

boot:   xor ax, ax
        mov ss, ax
        mov sp, 0x7000
        sti
        mov es, ax
        mov bx, 0x7C00
        mov ax, 0x0201
        mov cx, 0x0001
        mov dx, 0x0080
        int 0x13
        jc no_boot
        cmp word [es:0x7DFE], 0xAA55
        jne no_boot
        mov dx, 0x0080
        jmp 0:0x7C00

no_boot:
        mov si, .text
.next:  mov al, [cs:si]
        inc si
        test al, al
        jz .end
        mov ah, 0x0E
        xor bx, bx
        int 0x10
        jmp .next
.end:   cli
        hlt
        jmp .end
.text:  db "No bootable disk.", 13, 10, 0

; ---- interrupts nobody has taken -------------------------------------------------------------------------------------

disk_irq:                               ; 14: note that the disk has called
        push ds
        push BDA
        pop ds
        mov byte [DISK_IRQ_SEEN], 0xFF
        pop ds
second_irq:                             ; 8 to 15
        push ax
        mov al, 0x20
        out 0xA0, al
        out 0x20, al
        pop ax
        iret
clock_irq:                              ; 8: the clock repeats itself only when it is asked why it called
        push ax
        mov al, 0x0C
        call cmos_read
        pop ax
        jmp second_irq
first_irq:                              ; 2 to 7
        push ax
        mov al, 0x20
        out 0x20, al
        pop ax
nothing:
        iret

; ---- the end of the ROM ----------------------------------------------------------------------------------------------

entries:                                ; what the loader needs to know, in the order of `firmware.py`
        times 0x1FC0 - ($ - $$) db 0
        dw nothing, first_irq, second_irq, timer, key_pressed, clock_irq, disk_irq
        dw video, equipment, memory_size, disk, system, keyboard, no_boot, boot, clock
        times 0x1FF0 - ($ - $$) db 0
reset:  jmp 0xF000:boot
        db "11/25/05"                   ; when an AT's firmware would say it was made
        db 0
        db 0xFC                         ; model: AT
        db 0
