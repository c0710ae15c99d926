import type { Enrolment } from '../../api/types';

/** Where the agent keeps its state unless the operator chooses another place. */
const DATA = '/var/lib/holdfast-agent';

/**
 * The one command that makes a machine a host. The token goes in by a pipe: as an argument every user
 * of the machine could read it in the list of processes.
 */
export function enrolCommand(enrolment: Enrolment, origin: string): string {
  return [
    `echo ${enrolment.enrolment_token}`,
    `| holdfast-agent enroll --server ${origin} --token-file - --data ${DATA}`,
    `&& holdfast-agent run --data ${DATA}`,
  ].join(' \\\n  ');
}
