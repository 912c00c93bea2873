; The stand-in flasher: a .COM that goes by the name AFUDOSU.EXE (DOS tells the two apart by 'MZ', not by the name).
;
; It prints its command tail as AFUSTUB ARGS=[...], opens its first argument, and prints SIZE=hhhhhhhh SUM=hhhhhhhh
; (32-bit sum of bytes), through DOS and on COM1. It flashes nothing and proves nothing about a vendor's flasher.
;
; Assemble: nasm -f bin -o AFUDOSU.EXE afustub.asm
        bits 16
        cpu 386
        org 100h

BUFFER  equ 8000h                       ; of our own segment, 16 KiB, below the stack
LENGTH  equ 4000h

start:  cld
        mov si, t_args
        call puts
        movzx cx, byte [80h]
        mov si, 81h
        jcxz .closed
.tail:  lodsb
        call putc
        loop .tail
.closed:
        mov si, t_close
        call puts

        movzx bx, byte [80h]            ; the first argument, ended by a zero
        mov byte [81h + bx], ' '
        mov byte [82h + bx], 0
        mov si, 81h
.blank: cmp byte [si], 0
        je .none
        cmp byte [si], ' '
        jne .word
        inc si
        jmp .blank
.word:  mov dx, si
.more:  inc si
        cmp byte [si], ' '
        jne .more
        mov byte [si], 0
        mov ax, 3D00h
        int 21h
        jc .none
        mov bx, ax
.read:  mov ah, 3Fh
        mov cx, LENGTH
        mov dx, BUFFER
        int 21h
        jc .torn
        movzx ecx, ax
        jecxz .done
        add [size], ecx
        mov si, BUFFER
        xor eax, eax
.byte:  lodsb
        add [sum], eax
        loop .byte
        jmp .read
.done:  mov si, t_size
        call puts
        mov eax, [size]
        call hex8
        mov si, t_sum
        call puts
        mov eax, [sum]
        call hex8
        xor al, al
        jmp .end
.torn:  mov si, t_torn
        jmp .fail
.none:  mov si, t_none
.fail:  call puts
        mov al, 1
.end:   push ax
        mov si, t_nl
        call puts
        mov cx, 16                      ; an emulated port may drop its last bytes when the machine ends
        mov al, ' '
.pad:   call com1
        loop .pad
        pop ax
        mov ah, 4Ch
        int 21h

puts:   lodsb
        test al, al
        jz .out
        call putc
        jmp puts
.out:   ret

putc:   pusha
        mov dl, al
        mov ah, 2
        push ax
        int 21h
        pop ax
        mov al, dl
        call com1
        popa
        ret

com1:   pusha
        mov bl, al
        xor cx, cx                      ; bounded: a board may have no COM1
        mov dx, 3FDh
.wait:  in al, dx
        test al, 20h
        loopz .wait
        mov al, bl
        mov dx, 3F8h
        out dx, al
        popa
        ret

hex8:   mov cx, 8
.next:  rol eax, 4
        push eax
        and al, 15
        cmp al, 10
        sbb al, 69h
        das
        call putc
        pop eax
        loop .next
        ret

t_args  db 'AFUSTUB ARGS=[', 0
t_close db ']'
t_nl    db 13, 10, 0
t_size  db 'SIZE=', 0
t_sum   db ' SUM=', 0
t_none  db 'OPEN FAILED', 0
t_torn  db 'READ FAILED', 0
        align 4
size    dd 0
sum     dd 0
