// What a form says about a repository's maintenance, as the API takes it. Pure.

import type { NewMaintenance } from '../../api/client';
import type { MaintenanceKind } from '../../api/types';

export interface PlanFields {
  cron: string;
  zone: string;
  enabled: boolean;
  from: string;
  until: string;
  /** How much of the data a check reads, in per cent; empty for none. */
  share: string | number | null;
}

/** The share of the data that a check reads, as a field shows it. */
export function shareOf(plan: { parameters?: unknown }): string {
  const read = (plan.parameters as { read_data?: unknown } | null | undefined)?.read_data;
  if (read === 'all') return '100';
  const percent = (read as { percent?: unknown } | null | undefined)?.percent;
  return typeof percent === 'number' ? String(percent) : '';
}

/** What was set before and has no field here is sent back as it was. */
export function planOf(fields: PlanFields, kind: MaintenanceKind, before: unknown): NewMaintenance {
  const plan: NewMaintenance = { cron: fields.cron.trim(), time_zone: fields.zone.trim(), enabled: fields.enabled };
  if (fields.from && fields.until) plan.window = { from: fields.from, until: fields.until };
  if (kind === 'forget') return plan;
  const parameters = { ...(before as Record<string, unknown> | null | undefined) };
  if (kind === 'check') {
    const percent = Number(fields.share ?? '');
    delete parameters.read_data;
    if (percent > 0) parameters.read_data = percent >= 100 ? 'all' : { percent };
  }
  if (Object.keys(parameters).length > 0) plan.parameters = parameters;
  return plan;
}
