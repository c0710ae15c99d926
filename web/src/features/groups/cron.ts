// The few schedules most people want, as cron and back. What cron means is the server's word.

export type Kind = 'hourly' | 'daily' | 'weekly' | 'custom';

export interface Plan {
  kind: Kind;
  minute: number;
  hour: number;
  weekday: number;
  cron: string;
}

export const DEFAULT_PLAN: Plan = { kind: 'daily', minute: 30, hour: 2, weekday: 0, cron: '30 2 * * *' };

const NUMBER = /^\d{1,2}$/;

/** The plan a cron expression stands for; `custom` when it is none of the simple ones. */
export function planOf(cron: string): Plan {
  const custom: Plan = { ...DEFAULT_PLAN, kind: 'custom', cron };
  const [minute = '', hour = '', day, month, weekday = '', ...rest] = cron.trim().split(/\s+/);
  if (rest.length > 0 || day !== '*' || month !== '*' || !NUMBER.test(minute)) return custom;
  const base = { ...custom, minute: Number(minute) };
  if (hour === '*') return weekday === '*' ? { ...base, kind: 'hourly' } : custom;
  if (!NUMBER.test(hour)) return custom;
  const timed = { ...base, hour: Number(hour) };
  if (weekday === '*') return { ...timed, kind: 'daily' };
  return /^[0-7]$/.test(weekday) ? { ...timed, kind: 'weekly', weekday: Number(weekday) % 7 } : custom;
}

/** The cron expression of a plan. */
export function cronOf(plan: Plan): string {
  switch (plan.kind) {
    case 'hourly':
      return `${plan.minute} * * * *`;
    case 'daily':
      return `${plan.minute} ${plan.hour} * * *`;
    case 'weekly':
      return `${plan.minute} ${plan.hour} * * ${plan.weekday}`;
    case 'custom':
      return plan.cron.trim();
  }
}

/** `02:30`, as a time field wants it. */
export function timeText(plan: Plan): string {
  return `${String(plan.hour).padStart(2, '0')}:${String(plan.minute).padStart(2, '0')}`;
}

/** The plan with the time of a time field; unchanged when the field is empty. */
export function withTime(plan: Plan, text: string): Plan {
  const [hour, minute] = text.split(':').map(Number);
  if (!text || hour === undefined || minute === undefined || Number.isNaN(hour + minute)) return plan;
  return { ...plan, hour, minute };
}
