; The boot probe: a 1.44 MB boot floppy that stands where the DOS floppy will stand (isolinux, memdisk, BTDSK.IMG).
;
; It finds the booted CD the way ELTORITO.SYS does (INT 13h AX=4B01h names the drive, AH=42h must read 2048 bytes),
; tells on COM1 and on the screen what lies in its root, sums every file there, prints the batches, and then shows
; a prompt at which the steps of a real session can be rehearsed: dir, ver, NAME.BAT ROM, exit.
;
; It proves: the disc boots, memdisk starts the floppy, a DOS driver of that kind can read the CD, the names and bytes.
; It does NOT prove that a DOS runs the batch (it only follows ECHO, GOTO and the flasher's line itself), that the
; vendor's flasher runs, or that a firmware is written: AFUDOSU is played by a stand-in that reads the ROM and sums it.
;
; Assemble here: nasm -f bin -o BTDSK.IMG probe.asm
        bits 16
        cpu 386
        org 7C00h

IOSEG   equ 2000h                       ; 32 KiB for reads
DIRSEG  equ 4000h                       ; the root directory, up to 60 KiB
BATSEG  equ 6000h                       ; one batch, up to 4 KiB
CHUNK   equ 16                          ; CD sectors per read
DIRMAX  equ 30                          ; CD sectors
BATMAX  equ 4096
SUMMAX  equ 256 * 1024 * 1024           ; bytes; larger files are listed without a sum

        jmp short boot
        nop
        db 'CRASHCRT'                   ; a 1.44 MB floppy's parameters, for firmware that wants them
        dw 512
        db 1
        dw 1
        db 2
        dw 224, 2880
        db 0F0h
        dw 9, 18, 2
        dd 0, 0
        db 0, 0, 29h
        dd 0C0FFEEh
        db 'PROBE      FAT12   '

boot:   cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 7C00h
        sti
        cld
        mov di, 3
.again: mov ax, 0200h + 17              ; the rest of the first track
        mov cx, 2
        xor dh, dh
        mov bx, 7E00h
        push dx
        int 13h
        pop dx
        jnc main
        xor ah, ah
        int 13h
        dec di
        jnz .again
        mov si, unread
.say:   lodsb
        test al, al
        jz rest
        mov ah, 0Eh
        xor bx, bx
        int 10h
        jmp .say
rest:   hlt
        jmp rest
unread  db 'The boot floppy cannot be read.', 0
        times 510 - ($ - $$) db 0
        dw 0AA55h

main:   call serial_on
        mov si, t_hello
        call puts
        call find_cd
        jnc .have
        mov si, t_none
        call puts
        jmp .ended
.have:  mov si, t_cd
        call puts
        mov al, [drive]
        call hex2
        call newline
        call say_volume
        call load_root
        jnc .list
        mov si, t_noroot
        call puts
        jmp .ended
.list:  call list_root
        call list_batches
.ended: mov si, t_end
        call puts
        jmp prompt

say_volume:
        mov si, t_volume
        call puts
        push ds
        mov ax, IOSEG
        mov ds, ax
        mov si, 40
        mov cx, 32
.trim:  mov bx, cx                      ; without the padding
        cmp byte [bx + 39], ' '
        jne .show
        loop .trim
.show:  jcxz .done
.next:  lodsb
        call put_plain
        loop .next
.done:  pop ds
        jmp newline

list_root:
        call first_record
.next:  call next_record
        jc .done
        test byte [rec_flags], 2
        jz .file
        mov si, t_dir
        call puts
        mov si, name
        call puts
        call newline
        jmp .next
.file:  mov si, t_file
        call puts
        mov si, name
        call puts
        mov si, t_size
        call puts
        mov eax, [rec_size]
        call hex8
        mov si, t_sum
        call puts
        call sum_record
        jc .bad
        call hex8
        jmp .flags
.bad:   mov si, t_nosum
        call puts
.flags: mov si, t_flags
        call puts
        mov al, [rec_flags]
        call hex2
        call newline
        jmp .next
.done:  cmp byte [torn], 0
        je .out
        mov si, t_torn
        call puts
.out:   ret

list_batches:
        call first_record
.next:  call next_record
        jc .out
        test byte [rec_flags], 2
        jnz .next
        call is_batch
        jc .next
        mov si, t_bat
        call puts
        mov si, name
        call puts
        call newline
        call load_batch
        jc .next
        xor bx, bx
.line:  call batch_line
        jc .next
        mov si, t_line
        cmp byte [bare_lf], 0
        je .crlf
        mov si, t_lfline
.crlf:  call puts
        mov si, line
        call puts
        call newline
        jmp .line
.out:   ret

        %include "prompt.inc"
        %include "cd.inc"
        %include "words.inc"
        %include "console.inc"
        %include "data.inc"

        %if $ - $$ > 18 * 512
        %error the program does not fit the first track
        %endif
        times 1474560 - ($ - $$) db 0

        absolute 0A000h                 ; behind the first track
drive     resb 1
tries     resb 1
upper     resb 1
fuel      resb 1
bare_lf   resb 1
rec_flags resb 1
rec_at    resw 1
tail      resw 1
bat_bytes resw 1
          alignb 4
rec_lba   resd 1
rec_size  resd 1
left      resd 1
sector    resd 1
status    resb 32
typed     resb 80
word1     resb 64
word2     resb 64
word3     resb 64
wanted    resb 80
name      resb 256
line      resb 164
expanded  resb 320
