import { ElMessage } from 'element-plus'

export function notifyError(message: string): void {
  ElMessage({ type: 'error', message, duration: 6000, showClose: true, grouping: true })
}

export function notifyDone(message: string): void {
  ElMessage({ type: 'success', message, duration: 2500, grouping: true })
}
