import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { IconButton } from "./Button";

/** A dialog that keeps the focus, and closes by Escape and by a click beside it. */
export function Dialog({
  open,
  title,
  children,
}: {
  open: Signal<boolean>;
  title: string;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open.value]);
  return (
    <dialog
      ref={dialog}
      aria-label={title}
      onClose={() => {
        open.value = false;
      }}
      onPointerDown={(event) => {
        if (event.target === dialog.current) open.value = false;
      }}
    >
      {open.value && (
        <div class="dialog-body">
          <div class="dialog-head">
            <h2>{title}</h2>
            <IconButton
              icon="close"
              label="Close"
              onClick={() => {
                open.value = false;
              }}
            />
          </div>
          {children}
        </div>
      )}
    </dialog>
  );
}
