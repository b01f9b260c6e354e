import { api } from '@/api/client'

export const useUnblock = () => api.useMutation('post', '/admin/users/{id}/unblock')
