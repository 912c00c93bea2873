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
; Assemble: nasm -f bin -o BTDSK.IMG probe.asm
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

; ---- the report -------------------------------------------------------------------------------------------------

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

; ---- the prompt -------------------------------------------------------------------------------------------------

prompt: mov si, t_prompt
        call puts
        call read_line
        mov si, typed
        mov di, word1
        call word_upper
        mov di, word2
        call word_as_is
        cmp byte [word1], 0
        je prompt
        mov si, word1
        mov di, c_ver
        call same
        je .ver
        mov di, c_exit
        call same
        je .exit
        mov di, c_dir
        call same
        je .dir
        call run_batch
        jmp prompt
.ver:   mov si, t_ver
        call puts
        jmp prompt
.exit:  mov al, 10h                     ; isa-debug-exit, where QEMU has one: status 33
        out 0F4h, al
        jmp rest
.dir:   call dos_dir
        jmp prompt

dos_dir:
        cmp word [root_bytes], 0
        je .out
        call first_record
.next:  call next_record
        jc .out
        mov si, name
        mov cx, 8
        call dos_part
        mov al, ' '
        call putc
        mov cx, 3
        call dos_part
        test byte [rec_flags], 2
        jnz .dir
        mov al, ' '
        call putc
        mov eax, [rec_size]
        call decimal
        jmp .end
.dir:   mov si, t_isdir
        call puts
.end:   call newline
        jmp .next
.out:   ret

; si: name; prints up to cx characters until '.' or the end, padded; si behind the '.'
dos_part:
.next:  mov al, [si]
        test al, al
        jz .pad
        inc si
        cmp al, '.'
        je .pad
        jcxz .next                      ; what 8.3 cuts off
        call put_upper
        dec cx
        jmp .next
.pad:   jcxz .out
        mov al, ' '
        call putc
        dec cx
        jmp .pad
.out:   ret

; word1 names a batch, with or without .BAT; word2 is its %1
run_batch:
        mov si, word1
        mov di, wanted
        call copy
        mov si, wanted
        call has_dot
        je .find
        mov si, t_dotbat                ; di stands on the copy's end
        call copy
.find:  call find_wanted
        jc .unknown
        call is_batch
        jc .unknown
        call load_batch
        jc .unknown
        mov byte [fuel], 200            ; lines; a batch that loops ends here
        xor bx, bx
.line:  call batch_line
        jc .out
        dec byte [fuel]
        jz .endless
        push bx
        call do_line
        pop bx
        jnc .line
        call goto_label                 ; new bx, or the end
        jnc .line
.out:   ret
.endless:
        mov si, t_endless
        jmp puts
.unknown:
        mov si, word1
        jmp bad_command

; does the line in `line`; carry: go to the label in `wanted`
do_line:
        mov si, line
        cmp byte [si], '@'
        jne .plain
        inc si
.plain: push si
        mov di, word3
        call word_upper
        mov [tail], si
        pop cx
        mov si, word3
        cmp byte [si], 0
        je .done
        cmp byte [si], ':'
        je .done
        mov di, c_rem
        call same
        je .done
        mov di, c_echo
        call same
        je .echo
        mov di, c_echodot
        call same
        je .blank
        mov di, c_goto
        call same
        je .goto
        call is_flasher
        je flash
        mov si, t_skip
        call puts
        mov si, cx
        call puts
        call newline
.done:  clc
        ret
.echo:  mov si, [tail]
        mov di, word3
        call word_upper
        mov si, word3
        mov di, c_off
        call same
        je .done
        mov si, [tail]
        cmp byte [si], ' '
        jne .say
        inc si
.say:   call expand
        mov si, expanded
        call puts
.blank: call newline
        clc
        ret
.goto:  mov si, [tail]
        mov di, wanted
        call word_upper
        cmp byte [wanted], ':'
        jne .there
        mov si, wanted + 1
        mov di, wanted
        call copy
.there: stc
        ret

; word3 is AFUDOSU or AFUDOSU.EXE: zero flag
is_flasher:
        mov si, word3
        mov di, c_afu
        call same
        je .out
        mov di, c_afuexe
        call same
.out:   ret

; the stand-in flasher: the command as DOS would see it, then what afustub.asm prints
flash:  mov si, cx                      ; the whole line first
        call expand
        mov si, t_runs
        call puts
        mov si, expanded
        call puts
        call newline
        mov si, [tail]
        call expand
        mov si, c_afuexe
        mov di, wanted
        call copy
        call find_wanted
        mov si, word3
        jc bad_command
        mov si, t_args
        call puts
        mov si, expanded
        call puts
        mov si, t_close
        call puts
        mov si, expanded
        mov di, wanted
        call word_upper
        call find_wanted
        jc .none
        mov si, t_SIZE
        call puts
        mov eax, [rec_size]
        call hex8
        mov si, t_SUM
        call puts
        call sum_record
        jc .unread
        call hex8
        call newline
        clc
        ret
.unread:
        mov si, t_nosum
        call puts
        call newline
        clc
        ret
.none:  mov si, t_noopen
        call puts
        clc
        ret

bad_command:
        push si
        mov si, t_bad
        call puts
        pop si
        call puts
        mov si, t_bad2
        call puts
        clc
        ret

; bx: the line behind label `wanted`; carry: there is none
goto_label:
        xor bx, bx
.next:  call batch_line
        jc .none
        mov si, line
        cmp byte [si], ':'
        jne .next
        inc si
        mov di, word3
        call word_upper
        mov si, word3
        mov di, wanted
        call same
        jne .next
        clc
        ret
.none:  mov si, t_nolabel
        call puts
        stc
        ret

; si: text -> expanded, with every %1 as word2
expand: mov di, expanded
.next:  lodsb
        test al, al
        jz .end
        cmp al, '%'
        jne .put
        cmp byte [si], '1'
        jne .put
        inc si
        push si
        mov si, word2
        call copy
        pop si
        jmp .room
.put:   stosb
.room:  cmp di, expanded + 250
        jb .next
.end:   mov byte [di], 0
        ret

; ---- the CD -----------------------------------------------------------------------------------------------------

; carry: no CD of this boot. Else [drive], and the primary volume descriptor in IOSEG.
; As ELTORITO.SYS does: from FFh down to 80h the first drive that fills the packet counts (its size byte tells, since
; some BIOSes leave the carry as it was), and the drive that the packet names is then the only one tried. Under floppy
; emulation that is drive 0, the floppy, and no CD is reached.
find_cd:
        mov dl, 0FFh
.next:  mov byte [status], 0
        mov ax, 4B01h
        mov si, status
        push dx
        int 13h
        pop dx
        mov al, [status]
        sub al, 13h
        cmp al, 20h - 13h
        jbe .named
        dec dl
        js .next
.none:  stc
        ret
.named: mov al, [status + 2]
        mov [drive], al
        push ds
        mov ax, IOSEG
        mov ds, ax
        mov byte [2047], 0A5h           ; zero in a descriptor: shows that the whole 2048 bytes came
        pop ds
        mov eax, 16
        mov cx, 1
        mov bx, IOSEG
        call read
        jc .none
        push ds
        mov ax, IOSEG
        mov ds, ax
        cmp byte [2047], 0
        jne .end
        cmp dword [0], 'CD0' << 8 | 1
        jne .end
        cmp word [4], '01'
.end:   pop ds
        jne .none
        clc
        ret

; eax: sector, cx: sectors, bx: segment; carry: unreadable
read:   mov [dap_lba], eax
        mov [dap_count], cx
        mov [dap_seg], bx
        mov byte [tries], 3
.again: mov ax, 4200h
        mov dl, [drive]
        mov si, dap
        push cx
        int 13h
        pop cx
        mov [dap_count], cx             ; a BIOS may store what it transferred
        jnc .out
        xor ah, ah
        mov dl, [drive]
        int 13h
        dec byte [tries]
        jnz .again
        stc
.out:   ret

load_root:
        push ds
        mov ax, IOSEG
        mov ds, ax
        mov eax, [156 + 2]
        mov ecx, [156 + 10]
        pop ds
        add ecx, 2047
        shr ecx, 11
        cmp ecx, DIRMAX
        jbe .fits
        mov cx, DIRMAX
        mov byte [torn], 1
.fits:  push cx
        mov bx, DIRSEG
        call read
        pop cx
        jc .out
        shl cx, 11
        mov [root_bytes], cx
        clc
.out:   ret

first_record:
        mov word [rec_at], 0
        ret

; the next record but . and .. -> name, rec_lba, rec_size, rec_flags; carry: no more
next_record:
        push es
        mov ax, DIRSEG
        mov es, ax
.next:  mov bx, [rec_at]
        cmp bx, [root_bytes]
        jae .end
        movzx cx, byte [es:bx]
        test cx, cx
        jz .pad
        cmp cx, 34
        jb .torn
        add [rec_at], cx
        jc .torn
        mov eax, [es:bx + 2]
        mov [rec_lba], eax
        mov eax, [es:bx + 10]
        mov [rec_size], eax
        mov al, [es:bx + 25]
        mov [rec_flags], al
        sub cx, 33
        movzx ax, byte [es:bx + 32]
        cmp ax, cx
        ja .torn
        test ax, ax
        jz .torn
        mov cx, ax
        lea si, [bx + 33]
        cmp cx, 1
        jne .named
        cmp byte [es:si], 1
        jbe .next
.named: mov di, name
.char:  mov al, [es:si]
        inc si
        cmp al, ';'
        je .close
        call plain
        mov [di], al
        inc di
        loop .char
.close: mov byte [di], 0
        cmp di, name
        je .out
        cmp byte [di - 1], '.'
        jne .out
        mov byte [di - 1], 0
.out:   pop es
        clc
        ret
.pad:   and bx, 0F800h                  ; records do not cross sectors
        add bx, 2048
        jc .end
        mov [rec_at], bx
        jmp .next
.torn:  mov byte [torn], 1
.end:   pop es
        stc
        ret

; the file named `wanted` (upper case) becomes the record; carry: no such file
find_wanted:
        cmp word [root_bytes], 0
        je .none
        call first_record
.next:  call next_record
        jc .none
        test byte [rec_flags], 2
        jnz .next
        mov si, name
        mov di, wanted
        call same_upper
        jne .next
        clc
        ret
.none:  stc
        ret

; eax: 32-bit sum of the record's bytes; carry: unreadable or too large
sum_record:
        mov eax, [rec_size]
        mov [left], eax
        cmp eax, SUMMAX
        ja .bad
        mov eax, [rec_lba]
        mov [sector], eax
        xor ebx, ebx
.next:  mov eax, [left]
        test eax, eax
        jz .done
        mov ecx, CHUNK * 2048
        cmp eax, ecx
        jae .full
        mov ecx, eax
.full:  sub [left], ecx
        push ecx
        push ebx
        add cx, 2047
        shr cx, 11
        mov eax, [sector]
        mov bx, IOSEG
        call read
        pop ebx
        pop ecx
        jc .bad
        add dword [sector], CHUNK
        push ds
        mov ax, IOSEG
        mov ds, ax
        xor si, si
        xor eax, eax
.byte:  lodsb
        add ebx, eax
        dec cx
        jnz .byte
        pop ds
        jmp .next
.done:  mov eax, ebx
        clc
        ret
.bad:   stc
        ret

; name ends in .BAT: no carry
is_batch:
        mov si, name
.end:   lodsb
        test al, al
        jnz .end
        sub si, 5
        cmp si, name
        jbe .no
        mov di, t_dotbat
        call same_upper
        jne .no
        clc
        ret
.no:    stc
        ret

; the record's first 4 KiB -> BATSEG, [bat_bytes]; carry: unreadable
load_batch:
        mov eax, [rec_size]
        cmp eax, BATMAX
        jbe .fits
        mov eax, BATMAX
.fits:  mov [bat_bytes], ax
        test ax, ax
        jz .out
        mov cx, 2
        mov eax, [rec_lba]
        mov bx, BATSEG
        jmp read
.out:   clc
        ret

; bx: offset in the batch -> `line`, bx behind it, [bare_lf]; carry: no more
batch_line:
        cmp bx, [bat_bytes]
        jae .none
        push es
        mov ax, BATSEG
        mov es, ax
        mov di, line
        mov byte [bare_lf], 0
        xor ah, ah                      ; the character before
.next:  cmp bx, [bat_bytes]
        jae .end
        mov al, [es:bx]
        inc bx
        cmp al, 10
        je .lf
        cmp al, 26                      ; DOS ends a text here
        je .eof
        mov ah, al
        cmp al, 13
        je .next
        call plain
        cmp di, line + 160
        jae .next
        mov [di], al
        inc di
        jmp .next
.eof:   mov bx, [bat_bytes]
        jmp .end
.lf:    cmp ah, 13
        je .end
        mov byte [bare_lf], 1
.end:   mov byte [di], 0
        pop es
        clc
        ret
.none:  stc
        ret

; ---- words ------------------------------------------------------------------------------------------------------

; si: text, skips blanks, copies one word to di; si behind it
word_upper:
        mov byte [upper], 1
        jmp take_word
word_as_is:
        mov byte [upper], 0
take_word:
        cmp byte [si], ' '
        jne .start
        inc si
        jmp take_word
.start: mov dx, 60
.next:  mov al, [si]
        cmp al, ' '
        jbe .end
        inc si
        cmp byte [upper], 0
        je .put
        call to_upper
.put:   test dx, dx
        jz .next
        dec dx
        mov [di], al
        inc di
        jmp .next
.end:   mov byte [di], 0
        ret

; si, di: equal texts: zero flag; both kept
same:   push si
        push di
.next:  mov al, [si]
        cmp al, [di]
        jne .out
        inc si
        inc di
        test al, al
        jnz .next
.out:   pop di
        pop si
        ret

; the same, si read in upper case
same_upper:
        push si
        push di
.next:  mov al, [si]
        call to_upper
        cmp al, [di]
        jne .out
        inc si
        inc di
        test al, al
        jnz .next
.out:   pop di
        pop si
        ret

; si -> di with its end; di stands on the end
copy:   lodsb
        mov [di], al
        inc di
        test al, al
        jnz copy
        dec di
        ret

; si: text with a '.': zero flag
has_dot:
        push si
.next:  lodsb
        cmp al, '.'
        je .out
        test al, al
        jnz .next
        inc al                          ; clears the zero flag
.out:   pop si
        ret

to_upper:
        cmp al, 'a'
        jb .out
        cmp al, 'z'
        ja .out
        sub al, 20h
.out:   ret

; control characters and what is not ASCII become '?'
plain:  cmp al, ' '
        jb .no
        cmp al, 7Eh
        jbe .out
.no:    mov al, '?'
.out:   ret

read_line:
        mov di, typed
.key:   xor ah, ah
        int 16h
        cmp al, 13
        je .done
        cmp al, 8
        je .back
        cmp al, ' '
        jb .key
        cmp di, typed + 70
        jae .key
        stosb
        call putc
        jmp .key
.back:  cmp di, typed
        je .key
        dec di
        mov al, 8
        call putc
        mov al, ' '
        call putc
        mov al, 8
        call putc
        jmp .key
.done:  mov byte [di], 0
        jmp newline

; ---- COM1 and the screen ----------------------------------------------------------------------------------------

serial_on:
        mov dx, 3FBh                    ; 115200 8N1
        mov al, 80h
        out dx, al
        mov dx, 3F8h
        mov al, 1
        out dx, al
        inc dx
        xor al, al
        out dx, al
        mov dx, 3FBh
        mov al, 3
        out dx, al
        inc dx                          ; DTR and RTS
        out dx, al
        ret

puts:   push ax
        push si
.next:  mov al, [cs:si]
        inc si
        test al, al
        jz .out
        call putc
        jmp .next
.out:   pop si
        pop ax
        ret

newline:
        push si
        mov si, t_nl
        call puts
        pop si
        ret

put_plain:
        call plain
        jmp putc
put_upper:
        call to_upper
putc:   pusha
        push ax
        mov dx, 3FDh
        xor cx, cx                      ; bounded: a board may have no COM1
.wait:  in al, dx
        test al, 20h
        loopz .wait
        pop ax
        push ax
        mov dx, 3F8h
        out dx, al
        pop ax
        mov ah, 0Eh
        mov bx, 7
        int 10h
        popa
        ret

hex8:   push eax
        shr eax, 16
        call hex4
        pop eax
hex4:   push ax
        mov al, ah
        call hex2
        pop ax
hex2:   push ax
        shr al, 4
        call .digit
        pop ax
.digit: push ax
        and al, 15
        cmp al, 10
        sbb al, 69h
        das
        call putc
        pop ax
        ret

; eax, right-aligned in 12
decimal:
        mov di, digits + 12
        mov ebx, 10
.next:  xor edx, edx
        div ebx
        add dl, '0'
        dec di
        mov [di], dl
        test eax, eax
        jnz .next
.pad:   cmp di, digits
        jbe .out
        dec di
        mov byte [di], ' '
        jmp .pad
.out:   mov si, digits
        jmp puts

; ---- texts and data ---------------------------------------------------------------------------------------------

t_hello   db 13, 10, 'CRASHCART-PROBE 1', 13, 10, 0
t_none    db 'cd=none', 13, 10, 0
t_cd      db 'cd=', 0
t_volume  db 'volume=', 0
t_noroot  db 'root=unreadable', 13, 10, 0
t_torn    db 'root=incomplete', 13, 10, 0
t_dir     db 'dir ', 0
t_file    db 'file ', 0
t_size    db ' size=', 0
t_sum     db ' sum=', 0
t_nosum   db 'unread', 0
t_flags   db ' flags=', 0
t_bat     db 'bat ', 0
t_line    db 'bat> ', 0
t_lfline  db 'bat_lf> ', 0
t_end     db 'end', 13, 10, 0
t_prompt  db 13, 10, 'A:\>', 0
t_ver     db 'crashcart boot probe 1. This is not DOS.', 13, 10, 0
t_isdir   db '        <DIR>', 0
t_runs    db 'PROBE RUNS: ', 0
t_skip    db 'PROBE SKIPS: ', 0
t_endless db 'PROBE: this batch does not end', 13, 10, 0
t_nolabel db 'Label not found', 13, 10, 0
t_bad     db 'Bad command or filename - "', 0
t_bad2    db '".', 13, 10, 0
t_args    db 'AFUSTUB ARGS=[', 0
t_close   db ']'
t_nl      db 13, 10, 0
t_SIZE    db 'SIZE=', 0
t_SUM     db ' SUM=', 0
t_noopen  db 'OPEN FAILED', 13, 10, 0
t_dotbat  db '.BAT', 0
c_dir     db 'DIR', 0
c_ver     db 'VER', 0
c_exit    db 'EXIT', 0
c_rem     db 'REM', 0
c_echo    db 'ECHO', 0
c_echodot db 'ECHO.', 0
c_off     db 'OFF', 0
c_goto    db 'GOTO', 0
c_afu     db 'AFUDOSU', 0
c_afuexe  db 'AFUDOSU.EXE', 0
digits    times 12 db ' '
          db 0
torn      db 0
root_bytes dw 0

        align 4
dap     db 10h, 0
dap_count dw 0
        dw 0
dap_seg dw 0
dap_lba dd 0, 0

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
