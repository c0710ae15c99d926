// Which of the two keyboard dialogs is open, so that a button opens the same as a key.

class Keys {
  open = $state<'palette' | 'sheet' | undefined>(undefined);
}

export const keys = new Keys();
